"""What this machine offers, whether it keeps the promises that results rest on, and how many digits are needed."""

from jaxlimit.doctor._audit import Audit as Audit
from jaxlimit.doctor._audit import Row as Row
from jaxlimit.doctor._conclusion import Quantity as Quantity
from jaxlimit.doctor._diagnose import Finding as Finding
from jaxlimit.doctor._diagnose import diagnose as diagnose
from jaxlimit.doctor._precision import precision as precision
