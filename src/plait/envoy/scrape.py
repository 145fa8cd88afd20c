"""What the metrics port does to Envoy's own Prometheus page: Istio's exact names, labels and values.

Done when somebody asks, so that no request pays for it.  The prefix `envoy_` goes, and the one label that Envoy
counted by (see `labels`) becomes all those of Istio: the reporting workload is told by Envoy's environment, the
caller by its certificate's subject (`CN=workload,OU=app,O=version`, RFC 2253) and SPIFFE ID.  A value that Envoy
did not have (empty, or `-`) becomes what Istio says then.
"""

from __future__ import annotations

from collections.abc import Iterable

from plait.envoy import labels, names


def _words(texts: Iterable[str]) -> str:
    return "{" + ", ".join(f'"{text}"' for text in texts) + "}"


_TABLES = f"""\
local GROUPS = {{tcp = {_words(labels.GROUPS["tcp"])}, http = {_words(labels.GROUPS["http"])}}}
local WORKLOAD = {_words(labels.WORKLOAD)}
local SERVICE = {_words(labels.SERVICE)}
local GROUP, PART = "{labels.GROUP}", "{labels.PART}"
local LABEL = "{labels.LABEL}"
local OWN_VARIABLES = {{workload = "{names.OWN_WORKLOAD}", namespace = "{names.OWN_NAMESPACE}",
  app = "{names.OWN_APP}", version = "{names.OWN_VERSION}"}}
"""

LUA = (
    _TABLES
    + r"""
local function said(text)
  if text ~= "" and text ~= "-" then return text end
end

local OWN = {}
for key, variable in pairs(OWN_VARIABLES) do
  OWN[key] = said((os.getenv(variable) or ""):gsub('[\\"]', "\\%0"))
end

-- The parts of a text by their names; the last takes all that is left.
local function parts(text, separator, keys)
  local found, at = {}, 1
  for number, key in ipairs(keys) do
    local stop = number < #keys and text:find(separator, at, true) or #text + 1
    found[key] = said(text:sub(at, stop - 1))
    at = stop + 1
  end
  return found
end

local function caller(subject, principal)
  local found = {}
  -- In reverse each attribute ends at a comma that no backslash stands before.
  for key, value in ((subject or "") .. ","):gmatch("(%u+)=(.-[^\\]),") do
    found[key] = value:gsub("\\", "")
  end
  return {workload = found.CN, app = found.OU or found.CN, version = found.O,
    namespace = (principal or ""):match("/ns/([^/]+)/sa/")}
end

local function labels(text)
  local family, rest = text:match("^(%a+)" .. GROUP .. "(.*)$")
  local of = parts(rest, GROUP, GROUPS[family])
  local service = parts(of.service or "", PART, SERVICE)
  local source, destination, principal = OWN, OWN, of.destination_principal
  if of.reporter == "source" then
    destination = parts(of.destination or "", PART, WORKLOAD)
    principal = destination.principal
  else
    source = caller(of.source_subject, of.source_principal)
  end
  local made = {}
  local function add(name, value, otherwise)
    made[#made + 1] = name .. '="' .. (value or otherwise or "unknown") .. '"'
  end
  local function add_workload(where, who)
    add(where .. "_workload", who.workload)
    add(where .. "_workload_namespace", who.namespace)
    add(where .. "_app", who.app)
    add(where .. "_version", who.version)
    add(where .. "_cluster")
    add(where .. "_canonical_service", who.app)
    add(where .. "_canonical_revision", who.version, who.workload and "latest")
  end
  add("reporter", of.reporter)
  add_workload("source", source)
  add("source_principal", of.source_principal)
  add_workload("destination", destination)
  add("destination_principal", principal)
  add("destination_service", service.host)
  add("destination_service_name", service.name)
  add("destination_service_namespace", service.namespace)
  add("connection_security_policy", of.security)
  add("response_flags", of.response_flags, "-")
  if family == "http" then
    add("request_protocol", service.protocol, "http")
    add("response_code", of.response_code)
    add("grpc_response_status", of.grpc_response_status, "")
  else
    add("request_protocol", "tcp")
  end
  return table.concat(made, ",")
end

function envoy_on_response(handle)
  local body = handle:body()
  if body == nil then return end
  local seen = {}
  local text = body:getBytes(0, body:length())
  text = text:gsub("envoy_istio_([%w_]+){" .. LABEL .. '="([^\n]*)} ', function(name, inner)
    local packed, bucket = inner:match('^(.*)"(,le="[^"]*")$')
    packed = packed or inner:sub(1, -2)
    local made = seen[packed]
    if made == nil then
      made = labels(packed)
      seen[packed] = made
    end
    return "istio_" .. name .. "{" .. made .. (bucket or "") .. "} "
  end)
  text = text:gsub("envoy_istio_", "istio_"):gsub("envoy_plait_", "plait_")
  body:setBytes(text)
  handle:headers():replace("content-length", tostring(#text))
end
"""
)
