"""Listeners: where a proxy takes traffic in.  They stay as they are while routes and policies change.

`outbound` takes what the application sends, `inbound` what is sent to it; `parts` holds what both are made of.
"""
