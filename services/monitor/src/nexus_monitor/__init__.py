"""Drift of what people ask and what they are told: measured, weighed, and asked about.

    ledger ─► windows ─► features ─► drift ─► triage ─► annotations, report, metrics
    answers   reference,  bins of     lower    what to
              recent      each        bounds   ask, of whom

All but the two ends is pure.  What is asked of others are annotations of their resources.
"""
