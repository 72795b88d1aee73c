"""Whether an exception is the code's own, or a signal's that came while the code ran."""

from __future__ import annotations

import dis
import signal
from types import CodeType
from typing import Any


def is_from_a_signal(error: BaseException) -> bool:
    """Tell whether Ctrl-C, or a handler that exits, raised this: the code upon which it came has not failed.

    A handler in Python stands in the traceback. Python's own for Ctrl-C leaves no frame; then the last one did not
    `raise`.
    """
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = {code for handler in handlers if (code := _code(handler)) is not None}
    trace, frame = error.__traceback__, None
    while trace is not None:
        frame = trace
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    if frame is None or not isinstance(error, KeyboardInterrupt) or signal.default_int_handler not in handlers:
        return False
    return dis.opname[frame.tb_frame.f_code.co_code[frame.tb_lasti]] not in ("RAISE_VARARGS", "RERAISE")


def _code(handler: Any) -> CodeType | None:
    """Return the code of a function, a method, or a partial of one."""
    return getattr(getattr(handler, "func", handler), "__code__", None)
