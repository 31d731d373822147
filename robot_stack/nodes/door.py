"""The door of a node: what it says is sealed, what it hears must be. The rules are in `robot_stack.seal`; this moves messages."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_stack.errors import ContractError
from robot_stack.graph import Topic
from robot_stack.seal import FOR_CLIENTS, KEYS, Doorkeeper, Keys, read_keys, seal


class SealedPublisher:
    """Publishes with the seal of this graph."""

    def __init__(self, publisher: Any, keys: Keys) -> None:
        self._publisher, self._topic, self._keys = publisher, publisher.topic_name, keys

    def publish(self, message: Any) -> None:
        """Seal `message` and publish it."""
        seal(message, self._topic, self._keys, time.monotonic_ns())
        self._publisher.publish(message)


class Door:
    """Of one node, with the keys beside its run file. Raises ConfigError when they are not there, or others may read them."""

    def __init__(self, node: Any, config: Path) -> None:
        self._node = node
        self._keys = read_keys(config.with_name(KEYS))
        self._keeper = Doorkeeper(self._keys)

    def outward(self, publisher: Any) -> SealedPublisher:
        """`publisher`, with a seal on what it sends."""
        return SealedPublisher(publisher, self._keys)

    def inward(self, callback: Callable[[Any], None], topic: Topic, name: str) -> Callable[[Any], None]:
        """`callback` for the messages of `topic`, on the wire `name`, that may come in; of others it is said whose they are."""

        def hear(message: Any) -> None:
            try:
                self._keeper.admit(message, name, time.monotonic_ns(), clients=topic in FOR_CLIENTS)
            except ContractError as error:
                why = str(error)
                self._node.sayer.say(f"refused {name}", lambda: self._refusal(topic, name, why))
            else:
                callback(message)

        return hear

    def refuses(self, action: str) -> str:
        """Why this node must not do `action` now ("": it may): its parameter `permit` holds no permit for it, or a used one."""
        try:
            service = f"{self._node.get_fully_qualified_name()}/{action}"
            self._keeper.admit_request(service, self._node.text("permit"), time.monotonic_ns())
        except ContractError as error:
            return f"{action}: refused, the parameter `permit` holds no permit for it: {error}"
        return ""

    def _refusal(self, topic: Topic, name: str, why: str) -> str:
        there = [f"{i.node_name} {bytes(i.endpoint_gid).hex()}" for i in self._node.get_publishers_info_by_topic(name)]
        return (
            f"{name}: refused a message: {why}; allowed: {topic.publisher} of this run, for chunks also those run.allow names; "
            f"publishing there now: {', '.join(there) or 'nobody that was announced'}"
        )
