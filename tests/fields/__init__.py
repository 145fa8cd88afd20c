"""What each field of the APIs does, said as users say it and seen as they see it: YAML in, requests out.

Every case names the fields that it proves.  It has to hold with them, and to fail without each of them: a field
that is ignored can't pass.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{one}"
        for one in ("cases", "destination_rule", "grpc_route", "http_route", "virtual_service")
    )
)
