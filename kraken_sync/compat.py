"""What python-kraken-sdk's users rely on: texts of argument errors, and properties that attributes may hide.

That SDK's client is made to be subclassed, and bots have attributes such as ``self.orders``. What this
client offers beyond the SDK's names must not forbid them: an instance's own attribute wins. For the same
reason nothing inside this library reads a public attribute of a client, but for those that the SDK
documents as overridable.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Mapping, Optional, TypeVar, Union, overload

Value = TypeVar("Value")


class overridable(Generic[Value]):
    """As :class:`property`, but an attribute that is set on an instance hides it."""

    def __init__(self, read: Callable[[Any], Value]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, instance: None, owner: Any) -> overridable[Value]: ...

    @overload
    def __get__(self, instance: object, owner: Any) -> Value: ...

    def __get__(self, instance: Optional[object], owner: Any) -> Union[Value, overridable[Value]]:
        return self if instance is None else self._read(instance)


def method_of(message: Any) -> str:
    """The message's ``method``. Raises TypeError for what is no message."""
    if not isinstance(message, Mapping):
        raise TypeError("The ``message`` must be type dict!")
    method = message.get("method")
    if not isinstance(method, str) or not method:
        raise TypeError("The message must contain the ``method`` key with a valid string!")
    return method


def params_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``params`` of a message that subscribes or unsubscribes. Raises TypeError for anything else."""
    params = message.get("params")
    if not isinstance(params, Mapping) or not params:
        raise TypeError("The message must contain the ``params`` key with a value as type dict!")
    if not isinstance(params.get("channel"), str) or not params["channel"]:
        raise TypeError(
            "The message must contain the ``params`` key that points to a dictionary "
            "containing the ``channel`` key with a valid string!"
        )
    return params
