"""A stack on the real ROS 2 client library: publishes until its standard input ends. Commands: "configure"."""

import sys
import threading

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from std_msgs.msg import Bool, String

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATUSES = 700


class Stack(Node):
    def __init__(self):
        super().__init__("planner", namespace="/perception")
        self.odometry = self.create_publisher(Odometry, "/odom", 10)
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.sensor = self.create_publisher(Bool, "/sensor", qos_profile_sensor_data)
        self.latched = self.create_publisher(String, "/latched", LATCHED)
        self.latched.publish(String(data="once"))
        self.create_timer(0.05, self.publish_often)
        self.create_timer(0.5, self.publish_diagnostics)

    def publish_often(self):
        message = Odometry()
        message.header.frame_id = "odom"
        message.header.stamp = self.get_clock().now().to_msg()
        message.twist.twist.linear.x = 0.25
        self.odometry.publish(message)
        self.sensor.publish(Bool(data=True))

    def publish_diagnostics(self):
        statuses = [DiagnosticStatus(level=b"\x00", name=f"unit {i}", message="x" * 100) for i in range(STATUSES)]
        statuses[-1].level = b"\x02"
        self.diagnostics.publish(DiagnosticArray(status=statuses))


def obey(driver):
    for line in sys.stdin:
        if line.strip() == "configure":
            driver.trigger_configure()
    rclpy.try_shutdown()


def main():
    rclpy.init()
    stack, driver = Stack(), LifecycleNode("driver")
    threading.Thread(target=obey, args=(driver,), daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(stack)
    executor.add_node(driver)
    print("ready", flush=True)
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    finally:
        stack.destroy_node()
        driver.destroy_node()
        rclpy.try_shutdown()


main()
