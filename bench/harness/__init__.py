"""Shared parts of the benchmarks, and of the tests that start servers.

    options  -> one set of flags, each with a value for a full and one for a quick run
    process, load, memory, swarm, corpus   start a service, send it requests, read its memory
    turns    -> sides that are measured in turns, each in a process of its own
    report   -> report.json and report.md with the machine, the command and every figure
    quotes   -> the figures in README.md and docs/, copied from docs/reports
"""
