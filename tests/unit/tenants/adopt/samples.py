"""Objects of other systems as their users write them, for import tests. Data only."""

from __future__ import annotations

from typing import Any

import yaml

KUEUE = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: on-demand}
spec: {nodeLabels: {lifecycle: on-demand}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: spot}
spec:
  nodeLabels: {lifecycle: spot}
  nodeTaints: [{key: spot, value: "true", effect: NoSchedule}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: Cohort
metadata: {name: org}
spec:
  resourceGroups:
  - coveredResources: [cpu, memory]
    flavors:
    - name: on-demand
      resources: [{name: cpu, nominalQuota: 10}, {name: memory, nominalQuota: 20Gi}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: Cohort
metadata: {name: research}
spec: {parentName: org}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: team-a}
spec:
  cohortName: research
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: [cpu, memory, nvidia.com/gpu]
    flavors:
    - name: on-demand
      resources:
      - {name: cpu, nominalQuota: 64, borrowingLimit: 32, lendingLimit: 48}
      - {name: memory, nominalQuota: 256Gi}
      - {name: nvidia.com/gpu, nominalQuota: 8, borrowingLimit: 0}
    - name: spot
      resources:
      - {name: cpu, nominalQuota: 0}
      - {name: memory, nominalQuota: 0}
      - {name: nvidia.com/gpu, nominalQuota: 4}
  preemption: {reclaimWithinCohort: Any, withinClusterQueue: LowerPriority}
  fairSharing: {weight: "2"}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: Team.B}
spec:
  cohortName: research
  queueingStrategy: StrictFIFO
  resourceGroups:
  - coveredResources: [cpu, memory]
    flavors: [{name: on-demand, resources: [{name: cpu, nominalQuota: 16}, {name: memory, nominalQuota: 64Gi}]}]
  admissionChecksStrategy: {admissionChecks: [{name: budget}]}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: alone}
spec:
  resourceGroups:
  - coveredResources: [cpu, example.com/fpga, licences]
    flavors:
    - name: on-demand
      resources:
      - {name: cpu, nominalQuota: 5}
      - {name: example.com/fpga, nominalQuota: 2}
      - {name: licences, nominalQuota: 2}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: main, namespace: team-a-train}
spec: {clusterQueue: team-a}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: second, namespace: team-a-train}
spec: {clusterQueue: alone}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: main, namespace: team-b}
spec: {clusterQueue: Team.B}
"""

CAPSULE = """
apiVersion: capsule.clastix.io/v1beta2
kind: Tenant
metadata: {name: oil}
spec:
  owners:
  - {kind: User, name: alice}
  - {kind: ServiceAccount, name: "system:serviceaccount:ci:deployer"}
  - {kind: Group, name: oil-team, clusterRoles: [admin]}
  forceTenantPrefix: true
  namespaceOptions: {quota: 3}
  nodeSelector: {pool: oil}
  runtimeClasses: {allowed: [gvisor]}
  resourceQuotas:
    scope: Tenant
    items:
    - hard: {limits.cpu: "8", limits.memory: 16Gi, requests.cpu: "8", requests.memory: 16Gi}
    - hard: {pods: "10"}
  networkPolicies:
    items:
    - policyTypes: [Ingress, Egress]
      podSelector: {}
      ingress:
      - from:
        - namespaceSelector: {matchLabels: {capsule.clastix.io/tenant: oil}}
        - podSelector: {}
        - ipBlock: {cidr: 192.168.0.0/12}
      egress:
      - to:
        - ipBlock: {cidr: 0.0.0.0/0, except: [192.168.0.0/12]}
        - namespaceSelector: {matchLabels: {capsule.clastix.io/tenant: oil}}
status: {namespaces: [oil-production]}
---
apiVersion: capsule.clastix.io/v1beta2
kind: Tenant
metadata: {name: gas}
spec:
  owners: [{kind: User, name: bob}]
  resourceQuotas: {scope: Namespace, items: [{hard: {requests.cpu: "4"}}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: oil-production, labels: {capsule.clastix.io/tenant: oil}}
---
apiVersion: v1
kind: Namespace
metadata: {name: oil-development, labels: {capsule.clastix.io/tenant: oil}}
---
apiVersion: v1
kind: Namespace
metadata: {name: gas-1, labels: {capsule.clastix.io/tenant: gas}}
---
apiVersion: v1
kind: Namespace
metadata: {name: gas-2, labels: {capsule.clastix.io/tenant: gas}}
"""

PLAIN = """
apiVersion: v1
kind: Namespace
metadata: {name: kube-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: front}}
---
apiVersion: v1
kind: Namespace
metadata: {name: ledger, labels: {tier: back}}
---
apiVersion: v1
kind: Namespace
metadata: {name: open}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: q, namespace: shop}
spec: {hard: {requests.cpu: "8", memory: 16Gi, requests.nvidia.com/gpu: "2", limits.cpu: "16", count/jobs.batch: "5"}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: tighter, namespace: shop}
spec: {hard: {cpu: "6"}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: best-effort, namespace: shop}
spec: {hard: {pods: "3"}, scopes: [BestEffort]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: ledger}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow, namespace: ledger}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]
    ports: [{port: 5432}]
  - from: [{namespaceSelector: {matchLabels: {tier: front}}}]
    ports: [{port: 9090}]
  - from: [{podSelector: {matchLabels: {app: probe}}}]
  - from: [{podSelector: {}}]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}]
    ports: [{port: 53, protocol: UDP}, {port: 53}]
  - to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/32]}}]
    ports: [{port: 8000, endPort: 8100}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: some, namespace: ledger}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ingress-only, namespace: shop}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
"""


def objects(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))
