"""The JSON form of the messages of the link."""

from __future__ import annotations

from plait.codec import Codec
from plait.link.messages import FromAgent, InSession, JoinRequest, Signed, SignRequest, ToAgent
from plait.telemetry.reports import ProxyReport

FROM_AGENT: Codec[FromAgent] = Codec(FromAgent)
TO_AGENT: Codec[ToAgent] = Codec(ToAgent)
IN_SESSION: Codec[InSession] = Codec(InSession)
OBSERVED: Codec[ProxyReport] = Codec(ProxyReport)
SIGN_REQUEST: Codec[SignRequest] = Codec(SignRequest)
JOIN_REQUEST: Codec[JoinRequest] = Codec(JoinRequest)
SIGNED: Codec[Signed] = Codec(Signed)
