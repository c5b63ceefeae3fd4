/*
 * A ROS 2 stack as the network sees it, on Eclipse Cyclone DDS: publishes what its arguments name, prints "ready", takes commands on
 * its standard input, and leaves gracefully at the end of it.
 *
 *   cyclone-peer odom=20 velocity=10 battery=5 diagnostics=2 bulk=1000 mode nodes16 | nodes24
 *   stdin: "rate odom 5", "mode 1", "speed 1.5"
 */
#include <dds/dds.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "messages.h"

enum kind { ODOM, VELOCITY, BATTERY, DIAGNOSTICS, BULK, KINDS };

static const char *const names[KINDS] = {"odom", "velocity", "battery", "diagnostics", "bulk"};
static dds_entity_t writers[KINDS];
static double rates[KINDS];
static dds_time_t due[KINDS];
static double speed = 0.25;

#define STATUSES 700
#define BULK_BYTES 1000

static dds_entity_t writer_on(dds_entity_t participant, const dds_topic_descriptor_t *type, const char *type_name,
                              const char *topic_name, const dds_qos_t *qos) {
  dds_topic_descriptor_t named = *type;
  if (type_name != NULL) named.m_typename = type_name;
  dds_entity_t topic = dds_create_topic(participant, &named, topic_name, NULL, NULL);
  dds_entity_t writer = dds_create_writer(participant, topic, qos, NULL);
  if (topic < 0 || writer < 0) {
    fprintf(stderr, "%s: %s\n", topic_name, dds_strretcode(topic < 0 ? -topic : -writer));
    exit(1);
  }
  return writer;
}

static std_msgs_msg_dds__Header_ header(const char *frame) {
  dds_time_t now = dds_time();
  return (std_msgs_msg_dds__Header_){
      .stamp = {.sec = (int32_t)(now / DDS_NSECS_IN_SEC), .nanosec = (uint32_t)(now % DDS_NSECS_IN_SEC)},
      .frame_id = (char *)frame};
}

static void write_diagnostics(dds_entity_t writer) {
  static diagnostic_msgs_msg_dds__DiagnosticStatus_ statuses[STATUSES];
  static diagnostic_msgs_msg_dds__KeyValue_ values[2] = {{"temperature", "41.5"}, {"voltage", "24.1"}};
  static char texts[STATUSES][64];
  for (int i = 0; i < STATUSES; i++) {
    snprintf(texts[i], sizeof texts[i], "/sensing/lidar/unit_%d: connection", i);
    statuses[i] = (diagnostic_msgs_msg_dds__DiagnosticStatus_){
        .level = i == STATUSES - 1 ? 2 : 0,
        .name = texts[i],
        .message = "everything that this unit has to say about itself",
        .hardware_id = "lidar",
        .values = {._maximum = 2, ._length = 2, ._buffer = values, ._release = false}};
  }
  diagnostic_msgs_msg_dds__DiagnosticArray_ message = {
      .header = header(""),
      .status = {._maximum = STATUSES, ._length = STATUSES, ._buffer = statuses, ._release = false}};
  dds_write(writer, &message);
}

static void write_one(enum kind kind) {
  switch (kind) {
    case ODOM: {
      nav_msgs_msg_dds__Odometry_ message = {.header = header("odom"), .child_frame_id = "base_link"};
      message.pose.pose.orientation.w = 1;
      message.twist.twist.linear.x = speed;
      dds_write(writers[kind], &message);
      return;
    }
    case VELOCITY: {
      autoware_vehicle_msgs_msg_dds__VelocityReport_ message = {
          .header = header("base_link"), .longitudinal_velocity = (float)speed, .heading_rate = -0.5f};
      dds_write(writers[kind], &message);
      return;
    }
    case BATTERY: {
      float cells[2] = {3.5f, 3.75f};
      sensor_msgs_msg_dds__BatteryState_ message = {
          .header = header("battery"), .voltage = 24.5f, .percentage = 0.75f, .power_supply_status = 2, .present = true,
          .cell_voltage = {._maximum = 2, ._length = 2, ._buffer = cells, ._release = false},
          .location = "slot 1", .serial_number = "B-0042"};
      dds_write(writers[kind], &message);
      return;
    }
    case DIAGNOSTICS:
      write_diagnostics(writers[kind]);
      return;
    case BULK: {
      static char text[BULK_BYTES];
      memset(text, 'x', BULK_BYTES - 1);
      std_msgs_msg_dds__String_ message = {.data = text};
      dds_write(writers[kind], &message);
      return;
    }
    case KINDS:
      return;
  }
}

#define WRITE_NODES(GID, BYTES)                                                                                        \
  static dds_entity_t write_nodes##BYTES(dds_entity_t participant, const dds_qos_t *latched) {                        \
    dds_entity_t writer = writer_on(participant, &GID##_ParticipantEntitiesInfo__desc,                                 \
                                    "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_", "ros_discovery_info",       \
                                    latched);                                                                          \
    GID##_NodeEntitiesInfo_ nodes[2] = {{.node_namespace = "/perception", .node_name = "lidar"},                       \
                                        {.node_namespace = "/", .node_name = "planner"}};                              \
    GID##_Gid_ gids[3] = {{{0}}};                                                                                      \
    nodes[0].writer_gid_seq._maximum = nodes[0].writer_gid_seq._length = 3;                                            \
    nodes[0].writer_gid_seq._buffer = gids;                                                                            \
    GID##_ParticipantEntitiesInfo_ message = {                                                                         \
        .node_entities_info_seq = {._maximum = 2, ._length = 2, ._buffer = nodes, ._release = false}};                 \
    dds_guid_t guid;                                                                                                   \
    dds_get_guid(participant, &guid);                                                                                  \
    memcpy(message.gid.data, guid.v, 16);                                                                              \
    dds_write(writer, &message);                                                                                       \
    return writer;                                                                                                     \
  }

WRITE_NODES(gid16, 16)
WRITE_NODES(gid24, 24)

static void write_mode(dds_entity_t writer, int mode) {
  autoware_vehicle_msgs_msg_dds__ControlModeReport_ message = {.mode = (uint8_t)mode};
  dds_write(writer, &message);
}

static void set_rate(const char *name, double rate) {
  for (int kind = 0; kind < KINDS; kind++)
    if (strcmp(name, names[kind]) == 0) {
      rates[kind] = rate;
      due[kind] = dds_time();
    }
}

/* False at the end of the input. */
static bool obey(dds_entity_t mode_writer) {
  char line[128], name[32];
  double value;
  if (fgets(line, sizeof line, stdin) == NULL) return false;
  if (sscanf(line, "rate %31s %lf", name, &value) == 2) set_rate(name, value);
  else if (sscanf(line, "speed %lf", &value) == 1) speed = value;
  else if (sscanf(line, "mode %lf", &value) == 1) write_mode(mode_writer, (int)value);
  return true;
}

int main(int argc, char **argv) {
  dds_qos_t *own = dds_create_qos();
  dds_qset_userdata(own, "enclave=/;", 10);
  dds_entity_t participant = dds_create_participant(DDS_DOMAIN_DEFAULT, own, NULL);
  if (participant < 0) {
    fprintf(stderr, "no participant: %s\n", dds_strretcode(-participant));
    return 1;
  }
  dds_qos_t *reliable = dds_create_qos();
  dds_qset_reliability(reliable, DDS_RELIABILITY_RELIABLE, DDS_SECS(1));
  dds_qset_history(reliable, DDS_HISTORY_KEEP_LAST, 100);
  dds_qos_t *best_effort = dds_create_qos();
  dds_qset_reliability(best_effort, DDS_RELIABILITY_BEST_EFFORT, 0);
  dds_qos_t *latched = dds_create_qos();
  dds_qset_reliability(latched, DDS_RELIABILITY_RELIABLE, DDS_SECS(1));
  dds_qset_durability(latched, DDS_DURABILITY_TRANSIENT_LOCAL);
  dds_qset_history(latched, DDS_HISTORY_KEEP_LAST, 1);

  const struct {
    const dds_topic_descriptor_t *type;
    const char *topic;
    const dds_qos_t *qos;
  } topics[KINDS] = {
      [ODOM] = {&nav_msgs_msg_dds__Odometry__desc, "rt/odom", reliable},
      [VELOCITY] = {&autoware_vehicle_msgs_msg_dds__VelocityReport__desc, "rt/vehicle/status/velocity_status", reliable},
      [BATTERY] = {&sensor_msgs_msg_dds__BatteryState__desc, "rt/battery_state", best_effort},
      [DIAGNOSTICS] = {&diagnostic_msgs_msg_dds__DiagnosticArray__desc, "rt/diagnostics", reliable},
      [BULK] = {&std_msgs_msg_dds__String__desc, "rt/bulk", best_effort},
  };
  dds_entity_t mode_writer = 0;
  for (int i = 1; i < argc; i++) {
    char name[32];
    double rate;
    if (strcmp(argv[i], "nodes16") == 0) write_nodes16(participant, latched);
    else if (strcmp(argv[i], "nodes24") == 0) write_nodes24(participant, latched);
    else if (strcmp(argv[i], "mode") == 0) {
      mode_writer = writer_on(participant, &autoware_vehicle_msgs_msg_dds__ControlModeReport__desc, NULL,
                              "rt/vehicle/status/control_mode", latched);
      write_mode(mode_writer, 4);
    } else if (sscanf(argv[i], "%31[a-z]=%lf", name, &rate) == 2) {
      for (int kind = 0; kind < KINDS; kind++)
        if (strcmp(name, names[kind]) == 0)
          writers[kind] = writer_on(participant, topics[kind].type, NULL, topics[kind].topic, topics[kind].qos);
      set_rate(name, rate);
    } else {
      fprintf(stderr, "unknown argument: %s\n", argv[i]);
      return 2;
    }
  }
  printf("ready\n");
  fflush(stdout);

  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  setvbuf(stdin, NULL, _IONBF, 0);
  for (;;) {
    dds_time_t now = dds_time(), next = now + DDS_SECS(1);
    for (int kind = 0; kind < KINDS; kind++) {
      if (rates[kind] <= 0) continue;
      if (due[kind] <= now) {
        write_one((enum kind)kind);
        due[kind] += (dds_time_t)(DDS_NSECS_IN_SEC / rates[kind]);
      }
      if (due[kind] < next) next = due[kind];
    }
    struct timespec wait = {.tv_sec = 0, .tv_nsec = 0};
    dds_time_t left = next - dds_time();
    if (left > 0) {
      wait.tv_sec = left / DDS_NSECS_IN_SEC;
      wait.tv_nsec = left % DDS_NSECS_IN_SEC;
    }
    if (ppoll(&input, 1, &wait, NULL) > 0 && !obey(mode_writer)) break;
  }
  dds_delete(participant);
  return 0;
}
