"""Programs that nobody vouches for run here: bubblewrap, with limits that the kernel enforces."""

from liveweights.gate.sandbox.bubblewrap import SandboxUnavailable
from liveweights.gate.sandbox.limits import Limits
from liveweights.gate.sandbox.sandbox import Outcome, Sandbox, open_sandbox

__all__ = ["Limits", "Outcome", "Sandbox", "SandboxUnavailable", "open_sandbox"]
