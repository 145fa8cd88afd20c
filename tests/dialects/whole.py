"""One document of each kind that says everything which the kind can say and Plait honours."""

import yaml

WHOLE = {
    document["kind"]: document
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
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  hosts: [web]
  gateways: [mesh]
  http:
  - name: testers
    match:
    - name: one
      uri: {prefix: /a}
      method: {exact: GET}
      ignoreUriCase: true
      headers: {x-user: {exact: tester}}
      withoutHeaders: {x-bot: {regex: .*}}
      queryParams: {beta: {exact: "1"}}
      gateways: [mesh]
    route:
    - destination: {host: web, subset: v1, port: {number: 80}}
      weight: 90
    - destination: {host: web, subset: v2}
      weight: 10
    timeout: 1s
    retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop, labels: {a: b}, annotations: {a: b}}
spec:
  host: web
  subsets:
  - {name: v1, labels: {version: v1}}
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
        namespaces: [a]
        notNamespaces: ["b*"]
    - source: {serviceAccounts: [web], notServiceAccounts: [a/b]}
    to:
    - operation:
        methods: [GET]
        notMethods: [POST]
        paths: [/a]
        notPaths: [/b*]
        ports: ["8080"]
        notPorts: ["9090"]
""")
}
