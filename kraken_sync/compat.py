"""Compatibility with python-kraken-sdk: its texts of argument errors, and properties that can be hidden.

That SDK's client is made to be subclassed, and subclasses have attributes such as ``self.orders``. Names that
this client has in addition to the SDK's must not break them, so an attribute that is set on an instance takes
precedence. For the same reason this library reads no public attribute of a client, except those that the SDK
documents as overridable.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Mapping, Optional, TypeVar, Union, overload

Value = TypeVar("Value")


class overridable(Generic[Value]):
    """As :class:`property`, but an attribute that is set on an instance takes precedence."""

    # There is no __set__ on purpose: Python lets an instance's __dict__ win only over such descriptors.

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
    """Return the ``method`` of a message. Raises TypeError if it is not a message."""
    if not isinstance(message, Mapping):
        raise TypeError("The ``message`` must be type dict!")
    method = message.get("method")
    if not isinstance(method, str) or not method:
        raise TypeError("The message must contain the ``method`` key with a valid string!")
    return method


def params_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``params`` of a subscribe or unsubscribe. Raises TypeError for anything else."""
    params = message.get("params")
    if not isinstance(params, Mapping) or not params:
        raise TypeError("The message must contain the ``params`` key with a value as type dict!")
    if not isinstance(params.get("channel"), str) or not params["channel"]:
        raise TypeError(
            "The message must contain the ``params`` key that points to a dictionary "
            "containing the ``channel`` key with a valid string!"
        )
    return params
