"""The part of Debian's libvirt_qemu that holdfast.services.vm uses."""

from libvirt import virDomain

def qemuAgentCommand(domain: virDomain, command: str, timeout: int, flags: int) -> str: ...
