"""The operator as a process of its own, and a gateway in front of its API server that a test controls.

with operator_on(cluster, namespace) as operator:       # leads; serves that namespace
    cluster.api.create(job())
    operator.kill(); operator.start()                   # the same replica again

gateway = Gateway(cluster, "operator-a")                # decides before and after every request
with operator_on(cluster, namespace, gateway=gateway) as operator: ...
"""

from support.operator.gateway import Gateway, Reply, Seen
from support.operator.process import Operator, operator_on

__all__ = ["Gateway", "Operator", "Reply", "Seen", "operator_on"]
