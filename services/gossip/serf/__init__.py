"""The Serf core on top of SWIM: tags, intents to join and leave, user events, queries. Plain Python, no I/O.

Serf(settings, ...)          one pool; commands and packets go in with the time, effects come out
SerfSettings, Member, Status what a pool is made of
effects                      what the shell has to do or tell others
snapshot                     the file that remembers members and clocks over a restart"""

from services.gossip.serf.core import Serf
from services.gossip.serf.errors import SerfError
from services.gossip.serf.member import Member, Status
from services.gossip.serf.settings import SerfSettings

__all__ = ["Member", "Serf", "SerfError", "SerfSettings", "Status"]
