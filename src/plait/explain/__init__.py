"""Why a request would be let through or not, found out from what Envoy is told: pure.

It reads the rendered resources, never the policies, so that it says what Envoy does and not what was meant.  What it
does not know it refuses to judge (UnknownError): it never guesses.  What rules and flags mean is told here in words too.
"""
