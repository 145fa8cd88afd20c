"""What each field of the APIs does, said as users say it and seen as they see it: YAML in, requests out.

Every case names the fields that it proves.  It has to hold with them, and to fail without each of them: a field
that is ignored can't pass.
"""
