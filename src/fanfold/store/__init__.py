"""Rows in a database: one `Store`, one SQL text, a small seam at the connection. No engine, no user code."""
