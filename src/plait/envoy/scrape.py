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
local GROUP, PART = "{labels.GROUP}", "{labels.PART}"
local LABEL = "{labels.LABEL}"
local RULE_HELD, NO_ALLOW = "{labels.RULE_HELD}", "{names.NO_ALLOW}"
local OWN_VARIABLES = {{workload = "{names.OWN_WORKLOAD}", namespace = "{names.OWN_NAMESPACE}",
  app = "{names.OWN_APP}", version = "{names.OWN_VERSION}"}}
local REQUESTS = "{names.METRICS_PREFIX}_{metrics.REQUESTS}"
local COUNT = "envoy_{names.METRICS_PREFIX}_{metrics.DURATION}_count"
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

-- A service by its host, or by the name of a cluster; a cluster that is no service's has a name alone.
local function service(of)
  if of == nil then return {} end
  if of:find(GROUP, 1, true) or not of:find(".", 1, true) then
    local host = of:match("^outbound|%d+|[^|]*|(.+)$")
    if host == nil then return {name = of} end
    of = host
  end
  local name, namespace = of:match("^([^.]+)%.([^.]+)%.svc%.")
  return {host = of, name = name or of, namespace = namespace}
end

local function add_service(made, called)
  add(made, "destination_service", called.host)
  add(made, "destination_service_name", called.name)
  add(made, "destination_service_namespace", called.namespace)
end

local function labels(text)
  local family, rest = text:match("^(%a+)" .. GROUP .. "(.*)$")
  local of = parts(rest, GROUP, GROUPS[family])
  local called = service(of.service)
  local source, destination, principal = OWN, OWN, of.destination_principal
  if of.reporter == "source" then
    called = service(of.other_end)
    -- An endpoint that has no name is told by its address, which says nothing.
    local named = (of.destination or ""):find(PART, 1, true)
    destination = named and parts(of.destination, PART, WORKLOAD) or {}
    principal = destination.principal
  else
    source = caller(of.other_end, of.source_principal)
  end
  local made = {}
  add(made, "reporter", of.reporter)
  add_workload(made, "source", source)
  add(made, "source_principal", of.source_principal)
  add_workload(made, "destination", destination)
  add(made, "destination_principal", principal)
  add_service(made, called)
  add(made, "connection_security_policy", of.security)
  add(made, "response_flags", of.response_flags, "-")
  add(made, "request_protocol", of.grpc_response_status and "grpc" or of.protocol, family)
  if family == "http" then
    add(made, "response_code", of.response_code)
    add(made, "grpc_response_status", of.grpc_response_status, "")
  elseif family == "denied" then
    add(made, "reason", reason(of.reason))
  end
  return table.concat(made, ",")
end

-- What a request is sent to, by the name of the cluster among a sample's labels; nil of a cluster that is no service.
local function called(inner)
  local port, subset, host = inner:match('envoy_cluster_name="outbound|(%d+)|([^|"]*)|([^|"]+)"')
  if host == nil then return nil end
  local made = {}
  add(made, "reporter", "source")
  add_workload(made, "source", OWN)
  add_service(made, service(host))
  add(made, "destination_port", port)
  add(made, "destination_subset", subset)
  return table.concat(made, ",")
end

-- The samples of a metric, which stand together: their labels, and their values that are not 0.
local function samples(page, name)
  local head = "\n" .. name .. "{"
  local at = page:find(head, 1, true)
  return function()
    while at and page:sub(at, at + #head - 1) == head do
      local stop = page:find("\n", at + 1, true) or #page + 1
      local inner, value = page:sub(at + #head, stop - 1):match("^(.*)} (%d+)$")
      at = stop
      if value and value ~= "0" then return inner, tonumber(value) end
    end
  end
end

local function counter(name, made)
  if #made == 0 then return "" end
  return "# TYPE " .. name .. " counter\n" .. table.concat(made, "\n") .. "\n"
end

-- Those that were sent, and those for which no connection could be had.
local function attempts(page)
  local made, total = {}, {}
  for _, name in ipairs({"rq_total", "rq_pending_failure_eject"}) do
    for inner, count in samples(page, "envoy_cluster_upstream_" .. name) do
      local to = called(inner)
      if to then total[to] = (total[to] or 0) + count end
    end
  end
  for to, count in pairs(total) do made[#made + 1] = ATTEMPTS .. "{" .. to .. "} " .. count end
  return counter(ATTEMPTS, made)
end

-- By the code of the answer that was not good enough; 0 where there was none.
local function retries(page)
  local made, answered = {}, {}
  local function retried(to, code, count)
    made[#made + 1] = RETRIES .. "{" .. to .. ',response_code="' .. code .. '"} ' .. count
  end
  for inner, count in samples(page, "envoy_cluster_retry_upstream_rq") do
    local to, code = called(inner), inner:match('envoy_response_code="(%d+)"')
    if to and code then
      retried(to, code, count)
      answered[to] = (answered[to] or 0) + count
    end
  end
  for inner, count in samples(page, "envoy_cluster_upstream_rq_retry") do
    local to = called(inner)
    local silent = to and count - (answered[to] or 0) or 0
    if silent > 0 then retried(to, "0", silent) end
  end
  return counter(RETRIES, made)
end

local function without_prefix(text)
  return (text:gsub("envoy_(istio_)", "%1"):gsub("envoy_(plait_)", "%1"))
end

-- The page with Istio's labels.  It may have tens of thousands of lines, so that each is copied once, and most of it
-- is found by words and not by patterns.
local function translated(page)
  local made, requests, known, at = {}, {}, {}, 1
  local opening = "{" .. LABEL .. '="'
  local name, text, head
  while true do
    local open = page:find(opening, at, true)
    if open == nil then break end
    local stop = page:find("\n", open, true) or #page
    local before, inner = page:sub(at, open - 1), page:sub(open + #opening, stop)
    local cut = inner:find('",le="', 1, true) or #inner:match('^(.*)"} ') + 1
    local now = inner:sub(1, cut - 1)
    if before ~= name or now ~= text then
      local others, own = before:match("^(.*\n)([^\n]*)$")
      if others then made[#made + 1] = without_prefix(others) end
      name, text = own or before, now
      known[text] = known[text] or labels(text)
      head = without_prefix(name) .. "{" .. known[text]
    end
    local rest = inner:sub(cut + 1)
    made[#made + 1] = head
    made[#made + 1] = rest
    if name == COUNT then requests[#requests + 1] = REQUESTS .. "{" .. known[text] .. rest:match("^(.-)\n*$") end
    at = stop + 1
  end
  made[#made + 1] = without_prefix(page:sub(at))
  made[#made + 1] = counter(REQUESTS, requests) .. attempts(page) .. retries(page)
  return table.concat(made)
end

function envoy_on_response(handle)
  local body = handle:body()
  if body == nil then return end
  body:setBytes(translated(body:getBytes(0, body:length())))
  handle:headers():replace("content-length", tostring(body:length()))
  collectgarbage()
end
"""
)
