"""How each topic is delivered, as rclpy QoS profiles. The choice and its reason stand beside the topic in `robot_stack.graph`."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from robot_stack.graph import Topic


def newest(topic: Topic) -> QoSProfile:
    """For a reader that acts on the newest value: what it has not read yet is replaced; what was sent before it came is past."""
    return _profile(topic, topic.depth, DurabilityPolicy.VOLATILE)


def every(topic: Topic) -> QoSProfile:
    """For the publisher and for the recorder: deep enough that a short stall, or finding each other late, loses nothing."""
    return _profile(topic, topic.record_depth, DurabilityPolicy.TRANSIENT_LOCAL if topic.kept else DurabilityPolicy.VOLATILE)


def _profile(topic: Topic, depth: int, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if topic.reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=durability,
    )
