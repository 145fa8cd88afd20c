"""One document of each kind that says everything which the kind can say and Plait honours."""

import json

import yaml

WHOLE = {
    document["kind"]: json.loads(json.dumps(document))  # what is written once by an anchor is there twice
    for document in yaml.safe_load_all("""
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {a: b}, annotations: {a: b}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  type: ClusterIP
  clusterIP: None
  sessionAffinity: None
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http, protocol: TCP, appProtocol: http}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: web, namespace: shop, labels: {app: web, version: v1}, annotations: {a: b}}
spec:
  command: [python3, web.py]
  env: {A: b}
  workingDir: .
  user: web
  serviceAccount: web
  replicas: 2
  ports:
  - {name: http, port: 8080, protocol: http}
  readiness:
    http: {path: /, port: http}
    interval: 1s
    timeout: 1s
  restart: Always
  terminationGracePeriodSeconds: 5
---
apiVersion: plait.dev/v1alpha1
kind: RateLimit
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  targetRef: {group: plait.dev, kind: Workload, name: web}
  limits:
  - name: writes
    requests: 100
    per: 1s
    burst: 200
    scope: EachIdentity
    matches:
    - path: {prefix: /a}
      method: {exact: POST}
      headers: {x-user: {exact: tester}}
    - path: {exact: /b}
    - path: {regex: /c+}
      method: {regex: PUT|POST}
    - method: {prefix: P}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  hosts: [web]
  gateways: [mesh]
  exportTo: [., other]
  http:
  - name: testers
    match:
    - name: one
      uri: {prefix: /a}
      method: {exact: GET}
      scheme: {exact: http}
      authority: {prefix: web}
      port: 80
      ignoreUriCase: true
      headers: {x-user: {exact: tester}}
      withoutHeaders: {x-bot: {regex: .*}}
      queryParams: {beta: {exact: "1"}}
      sourceLabels: {app: web}
      sourceNamespace: shop
      gateways: [mesh]
    route:
    - destination: {host: web, subset: v1, port: {number: 80}}
      weight: 90
      headers:
        request: {set: {x-a: "1"}, add: {x-b: "2"}, remove: [x-c]}
        response: {set: {x-a: "1"}, add: {x-b: "2"}, remove: [x-c]}
    - destination: {host: web, subset: v2}
      weight: 10
    headers:
      request: {set: {host: other, x-a: "100 %%"}, add: {x-b: "%REQ(x-user)%"}, remove: [x-c]}
      response: {set: {x-a: "1"}, add: {x-b: "2"}, remove: [x-c]}
    rewrite: {uri: /b, authority: "other:80"}
    fault:
      delay: {percentage: {value: 0.5}, fixedDelay: 2s}
      abort: {percentage: {value: 0.5}, httpStatus: 503}
    corsPolicy:
      allowOrigins: [{exact: "https://shop.example"}, {regex: .*}]
      allowMethods: [GET]
      allowHeaders: [x-user]
      exposeHeaders: [x-total]
      maxAge: 60s
      allowCredentials: true
      unmatchedPreflights: IGNORE
    mirror: {host: web, subset: v2, port: {number: 80}}
    mirrorPercentage: {value: 12.5}
    mirrors:
    - destination: {host: web, subset: v2, port: {number: 80}}
      percentage: {value: 1}
    timeout: 1s
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx, backoff: 1s, retryIgnorePreviousHosts: false}
  - match:
    - uri: {prefix: /other}
    delegate: {name: other, namespace: shop}
  - match:
    - uri: {prefix: /pattern}
    route:
    - destination: {host: web}
    rewrite:
      uriRegexRewrite: {match: "/(a+)/(b*)", rewrite: '/\\2/\\1'}
    mirror: {host: web}
    mirrorPercent: 50
    fault:
      delay: {percent: 5, fixedDelay: 2s}
      abort: {percentage: {value: 5}, grpcStatus: UNAVAILABLE}
    corsPolicy: {allowOrigin: ["*"]}
  - match:
    - uri: {prefix: /old}
    redirect: {uri: /new, authority: web, scheme: https, port: 8443, redirectCode: 308}
  - match:
    - uri: {prefix: /older}
    redirect: {authority: web, derivePort: FROM_REQUEST_PORT}
  - directResponse:
      status: 503
      body: {string: closed}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  workloadSelector: {labels: {app: web}}
  egress:
  - hosts: [./*, other/reservations, "*/web.shop.svc.cluster.local", ~/*]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  host: web
  exportTo: ["*"]
  workloadSelector: {matchLabels: {app: web}}
  trafficPolicy: &policy
    loadBalancer: &balancer
      consistentHash:
        httpCookie:
          name: stay
          path: /
          ttl: 60s
          attributes: [{name: SameSite, value: Strict}, {name: Secure}]
        ringHash: {minimumRingSize: 1024}
      localityLbSetting:
        enabled: true
        distribute:
        - from: us-west/zone1/*
          to: {"us-west/zone1/*": 80, "us-west/zone2/*": 20}
    tls: &tls {mode: ISTIO_MUTUAL}
    connectionPool: &pool
      tcp:
        maxConnections: 100
        connectTimeout: 1s
        idleTimeout: 1800s
        maxConnectionDuration: 3600s
        tcpKeepalive: {probes: 3, time: 60s, interval: 10s}
      http:
        http1MaxPendingRequests: 10
        http2MaxRequests: 100
        maxRequestsPerConnection: 1000
        maxRetries: 3
        maxConcurrentStreams: 100
        idleTimeout: 60s
        h2UpgradePolicy: UPGRADE
        useClientProtocol: false
    outlierDetection: &outliers
      splitExternalLocalOriginErrors: true
      consecutiveLocalOriginFailures: 5
      consecutive5xxErrors: 5
      consecutiveGatewayErrors: 3
      interval: 10s
      baseEjectionTime: 30s
      maxEjectionPercent: 50
      minHealthPercent: 10
    retryBudget: {percent: 20, minRetryConcurrency: 3}
    portLevelSettings:
    - port: {number: 80}
      loadBalancer: *balancer
      tls: *tls
      connectionPool: *pool
      outlierDetection: *outliers
    - port: {number: 81}
      loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 65537}}}
    - port: {number: 82}
      loadBalancer: {consistentHash: {httpQueryParameterName: user, minimumRingSize: 1024}}
    - port: {number: 83}
      loadBalancer: {consistentHash: {useSourceIp: true}}
    - port: {number: 85}
      loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 60s, minimumPercent: 5, aggression: 1.5}}
    - port: {number: 84}
      loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 60s}
    - port: {number: 86}
      loadBalancer:
        localityLbSetting:
          failover: [{from: us-east, to: eu-west}]
          failoverPriority: [version, "app=web"]
      outlierDetection: *outliers
  subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: *policy
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls: {"8080": {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  selector: {matchLabels: {app: web}}
  action: ALLOW
  rules:
  - from:
    - source:
        principals: [td/ns/a/sa/b]
        notPrincipals: ["*/sa/c"]
        requestPrincipals: [iss/sub]
        notRequestPrincipals: ["iss/x*"]
        namespaces: [a]
        notNamespaces: ["b*"]
        ipBlocks: [10.0.0.0/8]
        notIpBlocks: [10.1.2.3]
        remoteIpBlocks: ["fd00::/8"]
        notRemoteIpBlocks: ["::1"]
    - source: {serviceAccounts: [web], notServiceAccounts: [a/b]}
    to:
    - operation:
        hosts: [web.shop]
        notHosts: ["*.example:8080"]
        methods: [GET]
        notMethods: [POST]
        paths: [/a]
        notPaths: [/b*]
        ports: ["8080"]
        notPorts: ["9090"]
    when:
    - key: request.auth.claims[a][b]
      values: [c]
      notValues: ["d*"]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  targetRefs:
  - {group: "", kind: Service, name: web}
  jwtRules:
  - issuer: https://issuer.example
    audiences: [shop]
    jwks: |
      {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "alg": "EdDSA",
                 "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
    fromHeaders: [{name: x-token, prefix: "Token "}]
    fromParams: [token]
    fromCookies: [session]
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-user, claim: sub}]
    forwardOriginalToken: true
    spaceDelimitedClaims: [roles]
  - {issuer: https://other.example, jwksUri: "http://web:80/keys", timeout: 2s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  parentRefs:
  - {group: "", kind: Service, namespace: shop, name: web, port: 80, sectionName: http}
  rules:
  - name: testers
    matches:
    - path: {type: PathPrefix, value: /a}
      headers: [{type: Exact, name: x-user, value: tester}]
      queryParams: [{type: RegularExpression, name: beta, value: "1|2"}]
      method: GET
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: &headers
        set: [{name: x-a, value: "100 %"}]
        add: [{name: x-b, value: "2"}]
        remove: [x-c]
    - {type: ResponseHeaderModifier, responseHeaderModifier: *headers}
    - type: RequestMirror
      requestMirror:
        backendRef: {group: "", kind: Service, namespace: shop, name: web, port: 80}
        percent: 50
    - type: RequestMirror
      requestMirror:
        backendRef: {name: web, port: 80}
        fraction: {numerator: 1, denominator: 1000}
    - type: URLRewrite
      urlRewrite:
        hostname: other.example
        path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}
    - type: CORS
      cors:
        allowOrigins: ["https://shop.example", "https://*.shop.example:8443"]
        allowCredentials: true
        allowMethods: [GET]
        allowHeaders: [x-user]
        exposeHeaders: [x-total]
        maxAge: 60
    backendRefs:
    - group: ""
      kind: Service
      namespace: shop
      name: web
      port: 80
      weight: 90
      filters:
      - {type: URLRewrite, urlRewrite: {hostname: backend.example}}
      - {type: RequestHeaderModifier, requestHeaderModifier: *headers}
      - {type: ResponseHeaderModifier, responseHeaderModifier: *headers}
    - {name: other, port: 80, weight: 10}
    timeouts: {request: 2s, backendRequest: 1s}
    retry: {codes: [500, 503], attempts: 3, backoff: 10ms}
    sessionPersistence:
      sessionName: stay
      type: Cookie
      absoluteTimeout: 1h
      cookieConfig: {lifetimeType: Permanent}
  - matches:
    - path: {type: Exact, value: /old}
    filters:
    - type: RequestRedirect
      requestRedirect:
        scheme: https
        hostname: shop.example
        port: 8443
        statusCode: 301
        path: {type: ReplaceFullPath, replaceFullPath: /new}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  parentRefs:
  - {group: "", kind: Service, namespace: shop, name: web, port: 80, sectionName: http}
  rules:
  - name: testers
    matches:
    - method: {type: Exact, service: shop.Tables, method: Book}
      headers: [{type: RegularExpression, name: x-user, value: "test.*"}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: &headers
        set: [{name: x-a, value: "100 %"}]
        add: [{name: x-b, value: "2"}]
        remove: [x-c]
    - {type: ResponseHeaderModifier, responseHeaderModifier: *headers}
    - type: RequestMirror
      requestMirror:
        backendRef: {group: "", kind: Service, namespace: shop, name: web, port: 80}
        fraction: {numerator: 1, denominator: 1000}
    - {type: RequestMirror, requestMirror: {backendRef: {name: web, port: 80}, percent: 50}}
    backendRefs:
    - group: ""
      kind: Service
      namespace: shop
      name: web
      port: 80
      weight: 90
      filters:
      - {type: RequestHeaderModifier, requestHeaderModifier: *headers}
      - {type: ResponseHeaderModifier, responseHeaderModifier: *headers}
    - {name: other, port: 80, weight: 10}
    sessionPersistence: {sessionName: stay, type: Header}
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  meshConfig:
    trustDomain: cluster.local
    trustDomainAliases: [old.example]
    accessLogFile: /dev/stderr
    accessLogEncoding: JSON
    accessLogFormat: '{"a": "%RESPONSE_CODE%"}'
    enableTracing: true
    defaultConfig: {tracing: {sampling: 10.0}}
    defaultProviders: {accessLogging: [file], metrics: [counts], tracing: [spans]}
    extensionProviders:
    - {name: counts, prometheus: {}}
    - name: file
      envoyFileAccessLog:
        path: /dev/stdout
        omitEmptyValues: true
        logFormat: {labels: {status: "%RESPONSE_CODE%"}}
    - name: text
      envoyFileAccessLog: {logFormat: {text: "%START_TIME% %RESPONSE_CODE%"}}
    - name: records
      envoyOtelAls:
        service: shop/web.shop.svc.cluster.local
        port: 81
        logName: web
        logFormat: {text: "%RESPONSE_CODE%", labels: {status: "%RESPONSE_CODE%"}}
    - name: spans
      opentelemetry:
        service: web.shop.svc.cluster.local
        port: 80
        http: {path: /v1/traces, timeout: 2s, headers: [{name: x-from, value: web}]}
    - name: spans-by-grpc
      opentelemetry:
        service: web.shop.svc.cluster.local
        port: 81
        grpc: {timeout: 2s, initialMetadata: [{name: x-from, value: web}]}
    - name: http
      envoyExtAuthzHttp:
        service: shop/web.shop.svc.cluster.local
        port: 80
        timeout: 2s
        pathPrefix: /check
        statusOnError: "503"
        includeRequestHeadersInCheck: [cookie, "x-a-*"]
        includeHeadersInCheck: ["*-b"]
        includeAdditionalHeadersInCheck: {x-from: web}
        includeRequestBodyInCheck: {maxRequestBytes: 4096, allowPartialMessage: true}
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnAllow: [x-told]
        headersToDownstreamOnDeny: [x-why]
    - name: grpc
      envoyExtAuthzGrpc:
        service: web.shop.svc.cluster.local
        port: 81
        timeout: 2s
        statusOnError: "503"
        includeRequestBodyInCheck: {maxRequestBytes: 4096, packAsBytes: true}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  selector: {matchLabels: {app: web}}
  tracing:
  - match: {mode: CLIENT}
    providers: [{name: spans}]
    randomSamplingPercentage: 12.5
    disableSpanReporting: false
    enableIstioTags: false
    useRequestIdForTraceSampling: true
    customTags:
      a: {literal: {value: b}}
      c: {environment: {name: D, defaultValue: e}}
      f: {header: {name: x-f, defaultValue: g}}
      h: {formatter: {value: "%RESPONSE_CODE%"}}
  accessLogging:
  - match: {mode: SERVER}
    providers: [{name: file}]
    disabled: false
    filter: {expression: "response.code >= 400"}
  metrics:
  - providers: [{name: counts}]
    overrides:
    - match: {metric: ALL_METRICS, mode: SERVER}
      disabled: true
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  from:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}
  to:
  - {group: "", kind: Service, name: web}
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  provider: istio
  targetRef: {apiVersion: plait.dev/v1alpha1, kind: Workload, name: web}
  progressDeadlineSeconds: 300
  skipAnalysis: false
  suspend: false
  revertOnDeletion: true
  service:
    name: web
    port: 80
    portName: http
    targetPort: http
    portDiscovery: false
    headless: false
    delegation: false
    gateways: [mesh]
    hosts: [web, web.shop.svc.cluster.local]
    match:
    - uri: {prefix: /a}
      headers: {x-user: {exact: tester}}
      queryParams: {beta: {exact: "1"}}
      sourceLabels: {app: web}
    rewrite: {uri: /b, authority: "other:80"}
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx, backoff: 1s, retryIgnorePreviousHosts: false}
    timeout: 5s
    headers:
      request: {set: {x-a: "1"}, add: {x-b: "2"}, remove: [x-c]}
      response: {set: {x-a: "1"}, add: {x-b: "2"}, remove: [x-c]}
    corsPolicy:
      allowOrigins: [{exact: "https://shop.example"}]
      allowMethods: [GET]
      allowHeaders: [x-user]
      exposeHeaders: [x-total]
      maxAge: 60s
      allowCredentials: true
    trafficPolicy:
      tls: {mode: ISTIO_MUTUAL}
      loadBalancer: {simple: ROUND_ROBIN}
      outlierDetection: {consecutive5xxErrors: 5}
      portLevelSettings:
      - port: {number: 80}
        tls: {mode: ISTIO_MUTUAL}
        connectionPool: {http: {http2MaxRequests: 100}}
  analysis:
    interval: 30s
    threshold: 5
    maxWeight: 50
    stepWeight: 10
    stepWeightPromotion: 50
    iterations: 0
    mirror: true
    mirrorWeight: 50
    primaryReadyThreshold: 90
    canaryReadyThreshold: 90
    trafficDeadlineSeconds: 600
    sessionAffinity: {cookieName: stay, maxAge: 3600, primaryCookieName: stay-primary}
    metrics:
    - name: request-success-rate
      interval: 1m
      thresholdRange: {min: 99, max: 100}
      minRequests: 100
    - name: request-duration
      comparison: baseline
      baseline: {alpha: 0.01, horizon: 5000}
    - name: not found
      interval: 30s
      thresholdRange: {max: 5}
      templateRef: {name: not-found, namespace: metrics}
      templateVariables: {status: "404"}
    - {name: older, threshold: 5, templateRef: {name: older}}
    webhooks:
    - {name: gate, type: confirm-rollout}
    - name: load
      type: rollout
      url: http://load.shop:8080/
      timeout: 15s
      retries: 2
      muteAlert: true
      metadata: {cmd: "hey -z 1m http://web-canary.shop/"}
    alerts:
    - {name: all, severity: info, providerRef: {name: on-call, namespace: alerts}}
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  provider: {type: prometheus, address: "https://prometheus.example:9090", insecureSkipVerify: true}
  query: 'sum(rate(errors{namespace="{{ namespace }}", workload="{{target}}", kind="{{ variables.kind }}"}[{{ interval }}]))'
---
apiVersion: flagger.app/v1beta1
kind: AlertProvider
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec: {type: slack, address: "https://hooks.example/a", channel: releases, username: plait}
""")
}
