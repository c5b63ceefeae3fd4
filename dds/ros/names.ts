/*
 * How ROS 2 names appear in DDS (design.ros2.org, "Topic and Service name mapping to DDS"): a topic gets the prefix `rt`, a type
 * `pkg/msg/Name` becomes `pkg::msg::dds_::Name_`.
 */

export const NODES_TOPIC = "ros_discovery_info";
export const NODES_TYPE = "rmw_dds_common::msg::dds_::ParticipantEntitiesInfo_";

const TOPIC_PREFIX = "rt";
const ROS_NAME = /^(?:\/[A-Za-z_][A-Za-z0-9_]*)+$/;
const ROS_TYPE = /^([a-z][a-z0-9_]*)\/(msg|srv|action)\/([A-Za-z][A-Za-z0-9_]*)$/;
const DDS_TYPE = /^([a-z][a-z0-9_]*)::(msg|srv|action)::dds_::([A-Za-z][A-Za-z0-9_]*)_$/;
const NAME_CHARACTERS_MAX = 255;

/** `/odom` to `rt/odom`; undefined when it is no fully qualified ROS name. */
export function ddsTopic(rosTopic: string): string | undefined {
  const sound = rosTopic.length + TOPIC_PREFIX.length <= NAME_CHARACTERS_MAX && ROS_NAME.test(rosTopic);
  return sound ? TOPIC_PREFIX + rosTopic : undefined;
}

/** `rt/odom` to `/odom`; undefined for services and for topics that are not of ROS. */
export function rosTopic(ddsName: string): string | undefined {
  if (!ddsName.startsWith(`${TOPIC_PREFIX}/`)) return undefined;
  const name = ddsName.slice(TOPIC_PREFIX.length);
  return ROS_NAME.test(name) ? name : undefined;
}

/** `nav_msgs/msg/Odometry` to `nav_msgs::msg::dds_::Odometry_`. */
export function ddsType(rosType: string): string | undefined {
  const [, pkg, kind, name] = ROS_TYPE.exec(rosType) ?? [];
  return pkg === undefined ? undefined : `${pkg}::${kind}::dds_::${name}_`;
}

/** `nav_msgs::msg::dds_::Odometry_` to `nav_msgs/msg/Odometry`; undefined for types that are not of ROS. */
export function rosType(ddsName: string): string | undefined {
  const [, pkg, kind, name] = DDS_TYPE.exec(ddsName) ?? [];
  return pkg === undefined ? undefined : `${pkg}/${kind}/${name}`;
}

/** `/perception` and `lidar` to `/perception/lidar`; undefined when the two make no name of a node. */
export function nodeName(namespace: string, name: string): string | undefined {
  const full = namespace.endsWith("/") ? namespace + name : `${namespace}/${name}`;
  return full.length <= NAME_CHARACTERS_MAX && ROS_NAME.test(full) ? full : undefined;
}
