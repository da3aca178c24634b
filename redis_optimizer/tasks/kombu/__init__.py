"""Everything that leans on what kombu does not document.

A contract test holds each of it: ``tests/contracts/test_kombu.py``.
"""
