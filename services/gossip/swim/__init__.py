"""The SWIM core with Lifeguard, as memberlist 0.2 runs it: who is alive. No clock, socket or global randomness.

Swim(settings, delegate, timers, rng, emit)   one pool's member list and failure detector
SwimSettings                                  timing and limits; lan/wan/dev differences are in its values
Timers                                        what is due when; its owner drives the core with it
effects                                       what the shell has to do
MergeError                                    a push/pull that must not be merged"""

from services.gossip.swim.core import MergeError, Swim
from services.gossip.swim.delegate import Delegate
from services.gossip.swim.settings import SwimSettings
from services.gossip.swim.timers import Timers

__all__ = ["Delegate", "MergeError", "Swim", "SwimSettings", "Timers"]
