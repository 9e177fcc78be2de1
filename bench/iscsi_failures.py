"""Why tests of libiscsi's suite do not pass against an engine, and what was found when looking into it."""

_UNALIGNED = (
    "tgt reads for comparison into memory that need not be aligned, which `direct` refuses (EINVAL in its log); whether it "
    "happens is luck. Without `direct` it passes, but a node's page cache would serve stale data after a failback"
)
_PART_OF_A_BLOCK = (
    "the initiator takes or sends a part of a block only (200 bytes), which direct I/O of files refuses; without it, and "
    "with LIO on a device, reading passes. No file system does that"
)
_SLOW = (
    "not wrong but slow: tgt writes each block by itself, synchronously, so that 4 MiB take more than 25 s here; "
    "without `direct` the ones with ZeroBlocks pass after 18 s"
)
_ATTENTION = (
    "the suite takes the unit attention *reservations released* (2A/04), news to the other initiator, for an error. "
    "Reservations do not follow a failover with tgt, so nobody should use them"
)
_SUITE_ASKS_TOO_EARLY = (
    "a mistake of the suite, with every target: it demands that `reconnect_succeeded` is 1 right after it has queued the "
    "reset; only the answer to the reset sets it, and was not waited for. "
)

_TGT = {
    "GetLBAStatus.BeyondEol": "tgt does not refuse block 2^63; it refuses the others",
    "OrWrite.Simple": _UNALIGNED,
    "OrWrite.Verify": _UNALIGNED,
    "Verify10": _UNALIGNED,
    "Verify12": _UNALIGNED,
    "Verify16": _UNALIGNED,
    "WriteVerify10": _UNALIGNED,
    "WriteVerify12": _UNALIGNED,
    "WriteVerify16": _UNALIGNED,
    "PrinServiceactionRange.Range": "tgt has no READ FULL STATUS (service action 3)",
    "ProutReserve.OwnershipEA": _ATTENTION,
    "ProutReserve.OwnershipWE": _ATTENTION,
    "ProutReserve.OwnershipEARO": _ATTENTION,
    "ProutReserve.OwnershipWERO": _ATTENTION,
    "Reserve6.2Initiators": "tgt lets another initiator read the mode pages of a unit that is reserved; not its data",
    "WriteSame10": _SLOW,
    "WriteSame16": _SLOW,
    "iSCSIdatasn.iSCSIDataSnInvalid": "tgt takes data with a wrong DataSN; TCP keeps their order",
    "iSCSIResiduals": _PART_OF_A_BLOCK,
    "iSCSITMF.LUNResetSimpleAsync": f"{_SUITE_ASKS_TOO_EARLY}Resets work: MultipathIO.Reset passes over two portals",
}
_TOO_MANY_BLOCKS = (
    "256 blocks do not fit into the command's one byte for them, which then says 0: LIO refuses it because the data do not "
    "fit the command (0E/03), and not because of the number. From 2 to 255 it is refused as the suite wants, and 1 works"
)
_VERIFIES_NOTHING = (
    "LIO's VERIFY does nothing and always succeeds: it compares no data, and does not look at these bits of the command. "
    "Linux sends none, except for an application's"
)
_OTHER_LENGTH = (
    "LIO refuses a write whose length for iSCSI is not the one in the command (0E/03, *invalid field in command information "
    "unit*), where the suite wants a part of it written. Nothing is written. No initiator that is in order sends one"
)
_PARTIAL_READS = ("Read10Invalid", "Read10Residuals", "Read12Residuals", "Read16Residuals")
_LIO = {
    "CompareAndWrite.Simple": _TOO_MANY_BLOCKS,
    "CompareAndWrite.Miscompare": _TOO_MANY_BLOCKS,
    "Verify10": _VERIFIES_NOTHING,
    "Verify16": _VERIFIES_NOTHING,
    "iSCSIdatasn.iSCSIDataSnInvalid": "LIO takes data with DataSN -1; the three other wrong ones end the connection",
    "iSCSIResiduals": _OTHER_LENGTH,
    **{f"iSCSIResiduals.{name}": _PART_OF_A_BLOCK for name in _PARTIAL_READS},
    "iSCSITMF.LUNResetSimpleAsync": f"{_SUITE_ASKS_TOO_EARLY}The reset itself was answered *function complete*",
}
EXPLAINED = {"tgt": _TGT, "lio": _LIO}
"""Engine → `Family.Test`, or a whole family → the reason."""


def explained(engine: str, test: str) -> str:
    """By its own name or its family's; "" if nobody has looked into it yet."""
    known = EXPLAINED.get(engine, {})
    return known.get(test) or known.get(test.partition(".")[0]) or ""
