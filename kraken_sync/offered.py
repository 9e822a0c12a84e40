"""Properties that an attribute of the same name may replace.

python-kraken-sdk's client is made to be subclassed, and bots have attributes such as ``self.orders``. What
this client offers beyond that SDK's names must not forbid them: an instance's own attribute wins.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Optional, TypeVar, Union, overload

Value = TypeVar("Value")


class offered(Generic[Value]):
    """As :class:`property`, but an attribute that is set on an instance hides it."""

    def __init__(self, read: Callable[[Any], Value]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    @overload
    def __get__(self, instance: None, owner: Any) -> offered[Value]: ...

    @overload
    def __get__(self, instance: object, owner: Any) -> Value: ...

    def __get__(self, instance: Optional[object], owner: Any) -> Union[Value, offered[Value]]:
        return self if instance is None else self._read(instance)
