"""The operator as processes of their own, and a gateway in front of its API server that a test controls.

with operator_on(nursery, cluster, namespace) as operator:  # serves that namespace, and leads
    cluster.api.create(job)
    operator.kill()
    operator.start()                                        # the same replica again

with Gateway(cluster, "operator-a") as gateway:             # decides before and after every request
    with operator_on(nursery, cluster, namespace, gateway=gateway) as operator: ...

def test(stage: Stage): ...                                 # one operator for a file's tests, and its gateway
"""

from support.operator.gateway import Gateway, Reply, Seen
from support.operator.nursery import Nursery
from support.operator.process import Operator, operator_on
from support.operator.stage import Stage, once

__all__ = ["Gateway", "Nursery", "Operator", "Reply", "Seen", "Stage", "once", "operator_on"]
