"""Runs an app in a test: in memory, on a clock that skips, and with crashes at will."""

from fanfold.testing.app import Stuck, TestApp

__all__ = ["Stuck", "TestApp"]
