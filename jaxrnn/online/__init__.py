"""Learning without looking back: the gradient of every step at that step, in memory that does not
grow with time.
"""

from jaxrnn.online.directions import UORO as UORO
from jaxrnn.online.directions import ForwardGradient as ForwardGradient
from jaxrnn.online.local import EProp as EProp
from jaxrnn.online.local import SnAp1 as SnAp1
from jaxrnn.online.protocol import Online as Online
from jaxrnn.online.rtrl import RTRL as RTRL
from jaxrnn.online.window import BPTT as BPTT
from jaxrnn.online.window import TBPTT as TBPTT
