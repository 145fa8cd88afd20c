"""What Envoy needs: a View becomes Resources.  Pure.

Every message class enters through `api`; every name that Envoy sees is made in `names`.  A file a resource
type, a file a filter in `filters/`.  Nothing here knows a dialect.
"""
