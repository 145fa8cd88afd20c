"""What the metrics port does to Envoy's own Prometheus page: Istio's exact names and values.

Done when somebody asks, so that no request pays for it.  Four things: the prefix `envoy_` goes; a value that
Envoy did not have (empty, or `-`) becomes what Istio says then; the caller's subject
(`CN=workload,OU=app,O=version`, RFC 2253) becomes labels; the caller's namespace is taken from its SPIFFE ID.
"""

from __future__ import annotations

LUA = """\
local ABSENT = {response_flags = "-", grpc_response_status = "", request_protocol = "http"}

local function absent(name)
  return name .. '="' .. (ABSENT[name] or "unknown") .. '"'
end

local function plain(value)
  if value == nil then return nil end
  return (value:gsub("\\\\", ""))
end

local function source(subject, principal)
  local found = {}
  -- In reverse each attribute ends at a comma that no backslash stands before.
  for key, value in (subject .. ","):gmatch("(%u+)=(.-[^\\\\]),") do
    found[key] = plain(value)
  end
  local workload = found.CN or "unknown"
  local app = found.OU or found.CN or "unknown"
  local namespace = principal:match("/ns/([^/]+)/sa/") or "unknown"
  return 'source_workload="' .. workload .. '",source_workload_namespace="' .. namespace
    .. '",source_app="' .. app .. '",source_version="' .. (found.O or "unknown")
    .. '",source_canonical_service="' .. app
    .. '",source_canonical_revision="' .. (found.O or (found.CN and "latest") or "unknown") .. '"'
end

local function labels(text)
  local subject = text:match('source_subject="([^"]*)"')
  if subject then
    local made = source(subject, text:match('source_principal="([^"]*)"') or "")
    text = text:gsub('source_subject="[^"]*"', function() return made end)
  end
  return (text:gsub('([%w_]+)="%-?"', absent))
end

function envoy_on_response(handle)
  local body = handle:body()
  if body == nil then return end
  local seen = {}
  local text = body:getBytes(0, body:length())
  text = text:gsub("envoy_istio_([%w_]+){([^\\n]*)} ", function(name, inner)
    local rest, bucket = inner:match("^(.*)(,le=\\"[^\\"]*\\")$")
    rest = rest or inner
    local made = seen[rest]
    if made == nil then
      made = labels(rest)
      seen[rest] = made
    end
    return "istio_" .. name .. "{" .. made .. (bucket or "") .. "} "
  end)
  text = text:gsub("envoy_istio_", "istio_")
  body:setBytes(text)
  handle:headers():replace("content-length", tostring(#text))
end
"""
