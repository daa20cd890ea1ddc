"""Notifications: `receiver` keeps who is awake, `hook` and `sqs` are where word comes from."""
