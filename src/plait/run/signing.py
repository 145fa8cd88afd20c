"""Who gets which certificate: an agent for replicas of what was assigned to it, and for itself by a join token."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from plait.identity.authority import Authority, Certificate, RequestRefused, Subject
from plait.identity.names import agent_uri, valid_agent_name
from plait.identity.tokens import TokenRefused, Tokens
from plait.link.messages import JoinRequest, ReplicaReport, Signed, SignRequest
from plait.model.names import Identity, ReplicaKey
from plait.run.grants import Doubts
from plait.run.registry import Registry

_PATIENCE = 5.0
"""Seconds to wait for the report of a replica whose request overtook it on the way."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Decides by what was assigned, never by what a request asks for.

    What the registry knows of a replica is what its workload was assigned with (see run.grants).
    """

    authority: Authority
    tokens: Tokens
    registry: Registry
    doubts: Doubts

    async def join(self, request: JoinRequest) -> Signed:
        """A certificate for an agent that proves itself by a token."""
        if not valid_agent_name(request.agent):
            return Signed(error=f"{request.agent!r} is no name for an agent")
        try:
            self.tokens.redeem(request.token, agent=request.agent, now=time.time())
        except TokenRefused as refusal:
            return Signed(error=str(refusal))
        return self._agent(request.agent, request.csr)

    async def sign(self, agent: str, request: SignRequest) -> Signed:
        """A certificate for a replica of this agent, or a new one for the agent itself."""
        if request.replica is None:
            return self._agent(agent, request.csr)
        report = await self._reported(agent, request.replica)
        if report is None:
            unknown = f"{request.replica} is not a replica of agent {agent}"
            return Signed(error=self.doubts.why(agent, request.replica) or unknown)
        if not self.doubts.grants.entitled(report):
            return Signed(error=f"{request.replica.workload} is not assigned to agent {agent} any more")
        replica = report.replica
        labels = dict(replica.labels)
        workload = replica.key.workload
        identity = Identity(self.authority.trust_domain, workload.namespace, replica.service_account)
        subject = Subject(
            workload=workload.name, app=labels.get("app", workload.name), version=labels.get("version", "")
        )
        return self._signed(identity.uri, request.csr, subject)

    async def _reported(self, agent: str, key: ReplicaKey) -> ReplicaReport | None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self.registry.find(key)
            if found is not None:
                return found[1] if found[0] == agent else None
            if self.doubts.why(agent, key) or time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.02)

    def _agent(self, name: str, csr: str) -> Signed:
        return self._signed(agent_uri(self.authority.trust_domain, name), csr, Subject())

    def _signed(self, uri: str, csr: str, subject: Subject) -> Signed:
        try:
            certificate: Certificate = self.authority.sign(csr, uri=uri, now=time.time(), subject=subject)
        except RequestRefused as refusal:
            return Signed(error=str(refusal))
        return Signed(chain=certificate.chain, trust=self.authority.trust, expires=certificate.expires)
