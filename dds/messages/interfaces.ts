import type { MessageDefinitions } from "../cdr/definition.ts";

/*
 * The messages that are known without help: field names and types of the ROS 2 interface packages (common_interfaces,
 * rcl_interfaces, rmw_dds_common) and of Autoware (autoware_msgs, autoware_adapi_msgs). Others can be given by the user in the same form.
 */

const common: MessageDefinitions = {
  "builtin_interfaces/msg/Time": ["int32 sec", "uint32 nanosec"],
  "builtin_interfaces/msg/Duration": ["int32 sec", "uint32 nanosec"],
  "std_msgs/msg/Header": ["builtin_interfaces/Time stamp", "string frame_id"],
  "std_msgs/msg/Bool": ["bool data"],
  "std_msgs/msg/Float32": ["float32 data"],
  "std_msgs/msg/Float64": ["float64 data"],
  "std_msgs/msg/Int32": ["int32 data"],
  "std_msgs/msg/String": ["string data"],
  "unique_identifier_msgs/msg/UUID": ["uint8[16] uuid"],
};

const geometry: MessageDefinitions = {
  "geometry_msgs/msg/Vector3": ["float64 x", "float64 y", "float64 z"],
  "geometry_msgs/msg/Point": ["float64 x", "float64 y", "float64 z"],
  "geometry_msgs/msg/Quaternion": ["float64 x", "float64 y", "float64 z", "float64 w"],
  "geometry_msgs/msg/Pose": ["Point position", "Quaternion orientation"],
  "geometry_msgs/msg/PoseStamped": ["std_msgs/Header header", "Pose pose"],
  "geometry_msgs/msg/PoseWithCovariance": ["Pose pose", "float64[36] covariance"],
  "geometry_msgs/msg/PoseWithCovarianceStamped": ["std_msgs/Header header", "PoseWithCovariance pose"],
  "geometry_msgs/msg/Twist": ["Vector3 linear", "Vector3 angular"],
  "geometry_msgs/msg/TwistStamped": ["std_msgs/Header header", "Twist twist"],
  "geometry_msgs/msg/TwistWithCovariance": ["Twist twist", "float64[36] covariance"],
  "geometry_msgs/msg/TwistWithCovarianceStamped": ["std_msgs/Header header", "TwistWithCovariance twist"],
  "geometry_msgs/msg/Accel": ["Vector3 linear", "Vector3 angular"],
  "geometry_msgs/msg/AccelWithCovariance": ["Accel accel", "float64[36] covariance"],
  "geometry_msgs/msg/AccelWithCovarianceStamped": ["std_msgs/Header header", "AccelWithCovariance accel"],
  "geographic_msgs/msg/GeoPoint": ["float64 latitude", "float64 longitude", "float64 altitude"],
  "geographic_msgs/msg/GeoPointStamped": ["std_msgs/Header header", "GeoPoint position"],
  "nav_msgs/msg/Odometry": [
    "std_msgs/Header header",
    "string child_frame_id",
    "geometry_msgs/PoseWithCovariance pose",
    "geometry_msgs/TwistWithCovariance twist",
  ],
};

const state: MessageDefinitions = {
  "sensor_msgs/msg/BatteryState": [
    "std_msgs/Header header",
    "float32 voltage",
    "float32 temperature",
    "float32 current",
    "float32 charge",
    "float32 capacity",
    "float32 design_capacity",
    "float32 percentage",
    "uint8 power_supply_status",
    "uint8 power_supply_health",
    "uint8 power_supply_technology",
    "bool present",
    "float32[] cell_voltage",
    "float32[] cell_temperature",
    "string location",
    "string serial_number",
  ],
  "diagnostic_msgs/msg/KeyValue": ["string key", "string value"],
  "diagnostic_msgs/msg/DiagnosticStatus": [
    "byte level",
    "string name",
    "string message",
    "string hardware_id",
    "KeyValue[] values",
  ],
  "diagnostic_msgs/msg/DiagnosticArray": ["std_msgs/Header header", "DiagnosticStatus[] status"],
  "lifecycle_msgs/msg/State": ["uint8 id", "string label"],
  "lifecycle_msgs/msg/Transition": ["uint8 id", "string label"],
  "lifecycle_msgs/msg/TransitionEvent": [
    "uint64 timestamp",
    "Transition transition",
    "State start_state",
    "State goal_state",
  ],
};

const autoware: MessageDefinitions = {
  "autoware_vehicle_msgs/msg/VelocityReport": [
    "std_msgs/Header header",
    "float32 longitudinal_velocity",
    "float32 lateral_velocity",
    "float32 heading_rate",
  ],
  "autoware_vehicle_msgs/msg/ControlModeReport": ["builtin_interfaces/Time stamp", "uint8 mode"],
  "autoware_adapi_v1_msgs/msg/OperationModeState": [
    "builtin_interfaces/Time stamp",
    "uint8 mode",
    "bool is_autoware_control_enabled",
    "bool is_in_transition",
    "bool is_stop_mode_available",
    "bool is_autonomous_mode_available",
    "bool is_local_mode_available",
    "bool is_remote_mode_available",
  ],
  "autoware_adapi_v1_msgs/msg/MrmState": ["builtin_interfaces/Time stamp", "uint16 state", "uint16 behavior"],
  "autoware_adapi_v1_msgs/msg/MotionState": ["builtin_interfaces/Time stamp", "uint16 state"],
  "autoware_adapi_v1_msgs/msg/LocalizationInitializationState": ["builtin_interfaces/Time stamp", "uint16 state"],
  "autoware_adapi_v1_msgs/msg/Heartbeat": ["builtin_interfaces/Time stamp", "uint16 seq"],
  "autoware_adapi_v1_msgs/msg/VehicleMetrics": ["builtin_interfaces/Time stamp", "float32 energy"],
  "autoware_adapi_v1_msgs/msg/VehicleKinematics": [
    "geographic_msgs/GeoPointStamped geographic_pose",
    "geometry_msgs/PoseWithCovarianceStamped pose",
    "geometry_msgs/TwistWithCovarianceStamped twist",
    "geometry_msgs/AccelWithCovarianceStamped accel",
  ],
};

export const KNOWN_MESSAGES: MessageDefinitions = { ...common, ...geometry, ...state, ...autoware };

/** What the DDS layers of ROS 2 tell about the nodes of a participant; Humble and older have 24 bytes per Gid, Iron and newer 16. */
export function discoveryMessages(gidBytes: 16 | 24): MessageDefinitions {
  return {
    "rmw_dds_common/msg/Gid": [`char[${gidBytes}] data`],
    "rmw_dds_common/msg/NodeEntitiesInfo": [
      "string<=256 node_namespace",
      "string<=256 node_name",
      "Gid[] reader_gid_seq",
      "Gid[] writer_gid_seq",
    ],
    "rmw_dds_common/msg/ParticipantEntitiesInfo": ["Gid gid", "NodeEntitiesInfo[] node_entities_info_seq"],
  };
}
