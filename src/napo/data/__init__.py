"""Logs and titles, read, checked, split and turned into candidate lists."""
