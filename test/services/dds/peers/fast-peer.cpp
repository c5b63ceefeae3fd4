/*
 * A ROS 2 stack as the network sees it, on eProsima Fast DDS, with the transports that it has by default. Arguments and commands are
 * those of cyclone-peer.c; besides, "lease=MS" sets how long others believe in it without hearing from it.
 */
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <unistd.h>

#include <fastdds/dds/domain/DomainParticipant.hpp>
#include <fastdds/dds/domain/DomainParticipantFactory.hpp>
#include <fastdds/dds/publisher/DataWriter.hpp>
#include <fastdds/dds/publisher/Publisher.hpp>
#include <fastdds/dds/topic/TypeSupport.hpp>

#include "messagesPubSubTypes.h"

using namespace eprosima::fastdds::dds;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int statuses = 700;
constexpr int bulkBytes = 1000;

struct Publication {
  DataWriter *writer = nullptr;
  std::function<void(DataWriter *)> write;
  double rate = 0;
  Clock::time_point due;
};

double speed = 0.25;

DataWriterQos qosOf(bool reliable, bool latched, int depth) {
  DataWriterQos qos = DATAWRITER_QOS_DEFAULT;
  qos.reliability().kind = reliable ? RELIABLE_RELIABILITY_QOS : BEST_EFFORT_RELIABILITY_QOS;
  qos.durability().kind = latched ? TRANSIENT_LOCAL_DURABILITY_QOS : VOLATILE_DURABILITY_QOS;
  qos.history().kind = KEEP_LAST_HISTORY_QOS;
  qos.history().depth = depth;
  qos.endpoint().history_memory_policy = eprosima::fastrtps::rtps::PREALLOCATED_WITH_REALLOC_MEMORY_MODE;
  qos.data_sharing().off();
  qos.publish_mode().kind = ASYNCHRONOUS_PUBLISH_MODE;
  return qos;
}

DataWriter *writerOn(DomainParticipant *participant, TypeSupport type, const char *typeName, const char *topicName,
                     const DataWriterQos &qos) {
  static Publisher *publisher = participant->create_publisher(PUBLISHER_QOS_DEFAULT);
  const std::string name = typeName == nullptr ? type.get_type_name() : typeName;
  type.register_type(participant, name);
  Topic *topic = participant->create_topic(topicName, name, TOPIC_QOS_DEFAULT);
  DataWriter *writer = publisher->create_datawriter(topic, qos);
  if (writer == nullptr) {
    std::fprintf(stderr, "no writer on %s\n", topicName);
    std::exit(1);
  }
  return writer;
}

void writeDiagnostics(DataWriter *writer) {
  diagnostic_msgs::msg::dds_::DiagnosticArray_ message;
  for (int i = 0; i < statuses; i++) {
    diagnostic_msgs::msg::dds_::DiagnosticStatus_ status;
    status.level(i == statuses - 1 ? 2 : 0);
    status.name("/sensing/lidar/unit_" + std::to_string(i) + ": connection");
    status.message("everything that this unit has to say about itself");
    status.hardware_id("lidar");
    for (const char *key : {"temperature", "voltage"}) {
      diagnostic_msgs::msg::dds_::KeyValue_ value;
      value.key(key);
      value.value("41.5");
      status.values().push_back(value);
    }
    message.status().push_back(status);
  }
  writer->write(&message);
}

void writeMode(DataWriter *writer, int mode) {
  autoware_vehicle_msgs::msg::dds_::ControlModeReport_ message;
  message.mode(static_cast<uint8_t>(mode));
  writer->write(&message);
}

template <class Info, class Node, class Gid, class Type>
void writeNodes(DomainParticipant *participant) {
  DataWriter *writer =
      writerOn(participant, TypeSupport(new Type()), "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_",
               "ros_discovery_info", qosOf(true, true, 1));
  Info message;
  std::memcpy(message.gid().data().data(), participant->guid().guidPrefix.value, 12);
  Node lidar;
  lidar.node_namespace("/perception");
  lidar.node_name("lidar");
  lidar.writer_gid_seq(std::vector<Gid>(3));
  Node planner;
  planner.node_namespace("/");
  planner.node_name("planner");
  message.node_entities_info_seq({lidar, planner});
  writer->write(&message);
}

std::map<std::string, std::function<Publication(DomainParticipant *)>> publications() {
  return {
      {"odom",
       [](DomainParticipant *participant) {
         return Publication{writerOn(participant, TypeSupport(new nav_msgs::msg::dds_::Odometry_PubSubType()), nullptr,
                                     "rt/odom", qosOf(true, false, 100)),
                            [](DataWriter *writer) {
                              nav_msgs::msg::dds_::Odometry_ message;
                              message.header().frame_id("odom");
                              message.child_frame_id("base_link");
                              message.twist().twist().linear().x(speed);
                              writer->write(&message);
                            }};
       }},
      {"velocity",
       [](DomainParticipant *participant) {
         return Publication{
             writerOn(participant, TypeSupport(new autoware_vehicle_msgs::msg::dds_::VelocityReport_PubSubType()),
                      nullptr, "rt/vehicle/status/velocity_status", qosOf(true, false, 100)),
             [](DataWriter *writer) {
               autoware_vehicle_msgs::msg::dds_::VelocityReport_ message;
               message.header().frame_id("base_link");
               message.longitudinal_velocity(static_cast<float>(speed));
               message.heading_rate(-0.5f);
               writer->write(&message);
             }};
       }},
      {"battery",
       [](DomainParticipant *participant) {
         return Publication{writerOn(participant, TypeSupport(new sensor_msgs::msg::dds_::BatteryState_PubSubType()),
                                     nullptr, "rt/battery_state", qosOf(false, false, 1)),
                            [](DataWriter *writer) {
                              sensor_msgs::msg::dds_::BatteryState_ message;
                              message.voltage(24.5f);
                              message.percentage(0.75f);
                              message.power_supply_status(2);
                              message.present(true);
                              message.cell_voltage({3.5f, 3.75f});
                              message.location("slot 1");
                              message.serial_number("B-0042");
                              writer->write(&message);
                            }};
       }},
      {"diagnostics",
       [](DomainParticipant *participant) {
         return Publication{
             writerOn(participant, TypeSupport(new diagnostic_msgs::msg::dds_::DiagnosticArray_PubSubType()), nullptr,
                      "rt/diagnostics", qosOf(true, false, 1)),
             writeDiagnostics};
       }},
      {"bulk",
       [](DomainParticipant *participant) {
         return Publication{writerOn(participant, TypeSupport(new std_msgs::msg::dds_::String_PubSubType()), nullptr,
                                     "rt/bulk", qosOf(false, false, 1)),
                            [](DataWriter *writer) {
                              std_msgs::msg::dds_::String_ message;
                              message.data(std::string(bulkBytes - 1, 'x'));
                              writer->write(&message);
                            }};
       }},
  };
}

}  // namespace

int main(int argc, char **argv) {
  DomainParticipantQos own = PARTICIPANT_QOS_DEFAULT;
  const char *enclave = "enclave=/;";
  own.user_data().data_vec(std::vector<eprosima::fastrtps::rtps::octet>(enclave, enclave + std::strlen(enclave)));
  for (int i = 1; i < argc; i++) {
    int ms;
    if (std::sscanf(argv[i], "lease=%d", &ms) != 1) continue;
    auto &config = own.wire_protocol().builtin.discovery_config;
    config.leaseDuration = {ms / 1000, static_cast<uint32_t>(ms % 1000) * 1000000u};
    config.leaseDuration_announcementperiod = {ms / 4000, static_cast<uint32_t>(ms / 4 % 1000) * 1000000u};
  }
  const char *domain = std::getenv("ROS_DOMAIN_ID");
  DomainParticipant *participant = DomainParticipantFactory::get_instance()->create_participant(
      domain == nullptr ? 0 : static_cast<uint32_t>(std::atoi(domain)), own);
  if (participant == nullptr) return 1;

  const auto known = publications();
  std::map<std::string, Publication> active;
  DataWriter *modeWriter = nullptr;
  for (int i = 1; i < argc; i++) {
    char name[32];
    double rate;
    if (std::strcmp(argv[i], "nodes16") == 0)
      writeNodes<gid16::ParticipantEntitiesInfo_, gid16::NodeEntitiesInfo_, gid16::Gid_,
                 gid16::ParticipantEntitiesInfo_PubSubType>(participant);
    else if (std::strcmp(argv[i], "nodes24") == 0)
      writeNodes<gid24::ParticipantEntitiesInfo_, gid24::NodeEntitiesInfo_, gid24::Gid_,
                 gid24::ParticipantEntitiesInfo_PubSubType>(participant);
    else if (std::strcmp(argv[i], "mode") == 0) {
      modeWriter =
          writerOn(participant, TypeSupport(new autoware_vehicle_msgs::msg::dds_::ControlModeReport_PubSubType()),
                   nullptr, "rt/vehicle/status/control_mode", qosOf(true, true, 1));
      writeMode(modeWriter, 4);
    } else if (std::sscanf(argv[i], "%31[a-z]=%lf", name, &rate) == 2 && known.count(name) == 1) {
      Publication publication = known.at(name)(participant);
      publication.rate = rate;
      publication.due = Clock::now();
      active[name] = publication;
    }
  }
  std::printf("ready\n");
  std::fflush(stdout);

  setvbuf(stdin, nullptr, _IONBF, 0);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  for (;;) {
    auto next = Clock::now() + std::chrono::seconds(1);
    for (auto &[name, publication] : active) {
      if (publication.rate <= 0) continue;
      if (publication.due <= Clock::now()) {
        publication.write(publication.writer);
        publication.due += std::chrono::nanoseconds(static_cast<long long>(1e9 / publication.rate));
      }
      next = std::min(next, publication.due);
    }
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(next - Clock::now()).count();
    timespec wait{left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
    if (ppoll(&input, 1, &wait, nullptr) <= 0) continue;
    char line[128], name[32];
    double value;
    if (std::fgets(line, sizeof line, stdin) == nullptr) break;
    if (std::sscanf(line, "rate %31s %lf", name, &value) == 2 && active.count(name) == 1) {
      active[name].rate = value;
      active[name].due = Clock::now();
    } else if (std::sscanf(line, "speed %lf", &value) == 1) speed = value;
    else if (std::sscanf(line, "mode %lf", &value) == 1 && modeWriter != nullptr) writeMode(modeWriter, static_cast<int>(value));
  }
  participant->delete_contained_entities();
  DomainParticipantFactory::get_instance()->delete_participant(participant);
  return 0;
}
