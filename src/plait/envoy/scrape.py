"""What the metrics port does to Envoy's own Prometheus page: Istio's exact names, labels and values.

Done when somebody asks, so that no request pays for it.  The prefix `envoy_` goes, and the one label that Envoy
counted by (see `labels`) becomes all those of Istio: the reporting workload is told by Envoy's environment, the
caller by its certificate's subject (`CN=workload,OU=app,O=version`, RFC 2253) and SPIFFE ID.  A value that Envoy
did not have (empty, or `-`) becomes what Istio says then.

What Envoy need not count twice is added: requests, which are as many as their durations, and attempts and retries
of each service, which Envoy counts of each cluster by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from plait.envoy import labels, metrics, names


def _words(texts: Iterable[str]) -> str:
    return "{" + ", ".join(f'"{text}"' for text in texts) + "}"


_GROUPS = ", ".join(f"{family} = {_words(groups)}" for family, groups in labels.GROUPS.items())
_TABLES = f"""\
local GROUPS = {{{_GROUPS}}}
local WORKLOAD = {_words(labels.WORKLOAD)}
local SERVICE = {_words(labels.SERVICE)}
local GROUP, PART = "{labels.GROUP}", "{labels.PART}"
local LABEL = "{labels.LABEL}"
local RULE_HELD, NO_ALLOW = "{labels.RULE_HELD}", "{names.NO_ALLOW}"
local OWN_VARIABLES = {{workload = "{names.OWN_WORKLOAD}", namespace = "{names.OWN_NAMESPACE}",
  app = "{names.OWN_APP}", version = "{names.OWN_VERSION}"}}
local REQUESTS = "{names.METRICS_PREFIX}_{metrics.REQUESTS}"
local DURATION = "{names.METRICS_PREFIX}_{metrics.DURATION}"
local ATTEMPTS = "{names.OWN_METRICS_PREFIX}_{metrics.ATTEMPTS}"
local RETRIES = "{names.OWN_METRICS_PREFIX}_{metrics.RETRIES}"
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

-- The rule that kept somebody out, or what else Envoy says of it.
local function reason(details)
  local rule = (details or ""):match("^" .. RULE_HELD .. "%[(.*)%]$")
  if rule == "none" then return NO_ALLOW end
  return rule or details
end

local function add(made, name, value, otherwise)
  made[#made + 1] = name .. '="' .. (value or otherwise or "unknown") .. '"'
end

local function add_workload(made, where, who)
  add(made, where .. "_workload", who.workload)
  add(made, where .. "_workload_namespace", who.namespace)
  add(made, where .. "_app", who.app)
  add(made, where .. "_version", who.version)
  add(made, where .. "_cluster")
  add(made, where .. "_canonical_service", who.app)
  add(made, where .. "_canonical_revision", who.version, who.workload and "latest")
end

local function add_service(made, service)
  add(made, "destination_service", service.host)
  add(made, "destination_service_name", service.name)
  add(made, "destination_service_namespace", service.namespace)
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
  add(made, "reporter", of.reporter)
  add_workload(made, "source", source)
  add(made, "source_principal", of.source_principal)
  add_workload(made, "destination", destination)
  add(made, "destination_principal", principal)
  add_service(made, service)
  add(made, "connection_security_policy", of.security)
  add(made, "response_flags", of.response_flags, "-")
  if family == "http" then
    add(made, "request_protocol", service.protocol, "http")
    add(made, "response_code", of.response_code)
    add(made, "grpc_response_status", of.grpc_response_status, "")
  elseif family == "denied" then
    add(made, "request_protocol", service.protocol, "tcp")
    add(made, "reason", reason(of.reason))
  else
    add(made, "request_protocol", "tcp")
  end
  return table.concat(made, ",")
end

-- What a request is sent to, by the name of the cluster among a sample's labels; nil of a cluster that is no service.
local function called(inner)
  local port, subset, host = inner:match('envoy_cluster_name="outbound|(%d+)|([^|"]*)|([^|"]+)"')
  if host == nil then return nil end
  local name, namespace = host:match("^([^.]+)%.([^.]+)%.svc%.")
  local made = {}
  add(made, "reporter", "source")
  add_workload(made, "source", OWN)
  add_service(made, {host = host, name = name or host, namespace = namespace})
  add(made, "destination_port", port)
  add(made, "destination_subset", subset)
  return table.concat(made, ",")
end

-- The samples of a metric: their labels, and their values that are not 0.
local function samples(text, name)
  local next_one = text:gmatch("\n" .. name .. "{([^\n]*)} (%d+)")
  return function()
    local inner, value
    repeat inner, value = next_one() until value ~= "0"
    return inner, tonumber(value)
  end
end

local function counter(name, made)
  if #made == 0 then return "" end
  return "# TYPE " .. name .. " counter\n" .. table.concat(made, "\n") .. "\n"
end

local function requests(text)
  local made = {}
  for inner, count in samples(text, DURATION .. "_count") do
    made[#made + 1] = REQUESTS .. "{" .. inner .. "} " .. count
  end
  return counter(REQUESTS, made)
end

local function attempts(text)
  local made = {}
  for inner, count in samples(text, "envoy_cluster_upstream_rq_total") do
    local service = called(inner)
    if service then made[#made + 1] = ATTEMPTS .. "{" .. service .. "} " .. count end
  end
  return counter(ATTEMPTS, made)
end

-- By the code of the answer that was not good enough; 0 where there was none.
local function retries(text)
  local made, answered = {}, {}
  local function retried(service, code, count)
    made[#made + 1] = RETRIES .. "{" .. service .. ',response_code="' .. code .. '"} ' .. count
  end
  for inner, count in samples(text, "envoy_cluster_retry_upstream_rq") do
    local service, code = called(inner), inner:match('envoy_response_code="(%d+)"')
    if service and code then
      retried(service, code, count)
      answered[service] = (answered[service] or 0) + count
    end
  end
  for inner, count in samples(text, "envoy_cluster_upstream_rq_retry") do
    local service = called(inner)
    local silent = count - (answered[service] or 0)
    if service and silent > 0 then retried(service, "0", silent) end
  end
  return counter(RETRIES, made)
end

function envoy_on_response(handle)
  local body = handle:body()
  if body == nil then return end
  local seen = {}
  local text = body:getBytes(0, body:length())
  text = text:gsub("envoy_(%l+_[%w_]+){" .. LABEL .. '="([^\n]*)} ', function(name, inner)
    local packed, bucket = inner:match('^(.*)"(,le="[^"]*")$')
    packed = packed or inner:sub(1, -2)
    local made = seen[packed]
    if made == nil then
      made = labels(packed)
      seen[packed] = made
    end
    return name .. "{" .. made .. (bucket or "") .. "} "
  end)
  text = text:gsub("envoy_istio_", "istio_"):gsub("envoy_plait_", "plait_")
  text = text .. requests(text) .. attempts(text) .. retries(text)
  body:setBytes(text)
  handle:headers():replace("content-length", tostring(#text))
end
"""
)
