"""A laboratory for the operator: scenarios on a real API server, disturbed, and judged.

A scenario is what users and nodes do to a pair of namespaces; an operator of its own looks after
them through a fault proxy.  What the undisturbed run comes to at each checkpoint, every disturbed
run has to come to as well.
"""
