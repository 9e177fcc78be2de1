"""The part of libiscsi that is used, for ctypes: one function that sends any command, and what logs in around it.

Library of Debian's package libiscsi7 (1.19, soname 7), whose interface is in its header iscsi.h. Loaded when first used.
"""

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_size_t, c_ubyte, c_uint16, c_void_p
from functools import cache

from holdfast.errors import DriverError

SESSION_NORMAL = 2
HEADER_DIGEST_NONE = 0
STATUS_GOOD = 0
STATUS_CANCELLED, STATUS_ERROR, STATUS_TIMEOUT = 0x0F000000, 0x0F000001, 0x0F000002
"""Above all statuses of SCSI: the library's own words for a command that got no answer."""


class _Sense(Structure):
    _fields_ = (
        ("error_type", c_ubyte),
        ("key", c_int),
        ("ascq", c_int),
        ("flags", c_ubyte),
        ("bit_pointer", c_ubyte),
        ("field_pointer", c_uint16),
    )


class _Data(Structure):
    _fields_ = (("size", c_int), ("data", POINTER(c_ubyte)))


class Task(Structure):
    """A command under way (struct scsi_task): its first fields, up to those that are read."""

    _fields_ = (
        ("status", c_int),
        ("cdb_size", c_int),
        ("xfer_dir", c_int),
        ("expxferlen", c_int),
        ("cdb", c_ubyte * 16),
        ("residual_status", c_int),
        ("residual", c_size_t),
        ("sense", _Sense),
        ("datain", _Data),
    )


class DataOut(Structure):
    """What a command sends (struct iscsi_data)."""

    _fields_ = (("size", c_size_t), ("data", c_void_p))


Callback = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p)
"""(context, status, what was asked for, the number given with the question)."""

_FUNCTIONS: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "iscsi_create_context": (c_void_p, (c_char_p,)),
    "iscsi_destroy_context": (c_int, (c_void_p,)),
    "iscsi_set_targetname": (c_int, (c_void_p, c_char_p)),
    "iscsi_set_session_type": (c_int, (c_void_p, c_int)),
    "iscsi_set_header_digest": (c_int, (c_void_p, c_int)),
    "iscsi_set_noautoreconnect": (None, (c_void_p, c_int)),
    "iscsi_set_initiator_username_pwd": (c_int, (c_void_p, c_char_p, c_char_p)),
    "iscsi_set_target_username_pwd": (c_int, (c_void_p, c_char_p, c_char_p)),
    "iscsi_get_error": (c_char_p, (c_void_p,)),
    "iscsi_get_fd": (c_int, (c_void_p,)),
    "iscsi_which_events": (c_int, (c_void_p,)),
    "iscsi_service": (c_int, (c_void_p, c_int)),
    "iscsi_connect_async": (c_int, (c_void_p, c_char_p, Callback, c_void_p)),
    "iscsi_login_async": (c_int, (c_void_p, Callback, c_void_p)),
    "iscsi_logout_async": (c_int, (c_void_p, Callback, c_void_p)),
    "iscsi_scsi_command_async": (c_int, (c_void_p, c_int, POINTER(Task), Callback, POINTER(DataOut), c_void_p)),
    "scsi_create_task": (POINTER(Task), (c_int, c_char_p, c_int, c_int)),
    "scsi_free_scsi_task": (None, (POINTER(Task),)),
}


@cache
def load() -> ctypes.CDLL:
    """The library. Raises DriverError where it is not installed."""
    try:
        library = ctypes.CDLL("libiscsi.so.7")
    except OSError as error:
        raise DriverError(
            f"libiscsi cannot be loaded ({error})", "Install it, on Debian the package libiscsi7."
        ) from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
