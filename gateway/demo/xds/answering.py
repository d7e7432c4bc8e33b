"""From a request to the answer of a personality: which transaction it is, what it says, how it is packed.

Rules of this module: it decides and composes; nothing is read from or written to a connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.demo.xds import names, query
from gateway.demo.xds.asking import Asked, Refused, read
from gateway.demo.xds.checks import check
from gateway.demo.xds.contents import fixed
from gateway.demo.xds.documents import HOME, Shelf
from gateway.demo.xds.envelope import envelope, fault_body, fault_header, status
from gateway.demo.xds.exchange import Exchange
from gateway.demo.xds.markup import Writer
from gateway.demo.xds.packaging import Body, multipart, plain
from gateway.demo.xds.personality import Canned, Personality, SoapFault
from gateway.demo.xds.retrieval import Retrieval, wanted
from gateway.demo.xds.sending import Reply

Endpoint = Literal["repository", "gateway", "registry"]

ACTIONS: dict[Endpoint, str] = {
    "repository": names.RETRIEVE,
    "gateway": names.CROSS_RETRIEVE,
    "registry": names.STORED_QUERY,
}
"""What each endpoint is for: ITI-43, ITI-39, ITI-18."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Composes answers over a shelf, for the community `home`."""

    shelf: Shelf
    home: str = HOME

    def reply(self, exchange: Exchange, endpoint: Endpoint, personality: Personality) -> Reply:
        """The answer to a request; what could be read of the request is noted in the exchange."""
        p = personality
        if exchange.request.method != "POST":
            return canned(Canned(405, b"POST SOAP messages here.\n", "text/plain", (("Allow", "POST"),)))
        try:
            asked = exchange.asked = read(exchange.request)
            if endpoint != "registry" and asked.body.name.endswith("}RetrieveDocumentSetRequest"):
                exchange.documents = tuple(wanted(asked))
            if p.instead is not None:
                return canned(p.instead)
            check(asked, p, ACTIONS[endpoint])
            if p.fault is not None:
                raise Refused(p.fault, soap=asked.soap)
            return self._answer(exchange, asked, endpoint, p)
        except Refused as refused:
            if p.instead is not None:
                return canned(p.instead)
            return self._refusal(refused, exchange.asked, p, ACTIONS[endpoint])

    def _answer(self, exchange: Exchange, asked: Asked, endpoint: Endpoint, p: Personality) -> Reply:
        soap = version(p, asked.soap)
        action = f"{ACTIONS[endpoint]}Response"
        packaging = self._packaging(p, asked)
        if endpoint == "registry":
            # A query's answer holds no document: it is plain SOAP from every stack.
            packaging = "plain"
            retrieval = None
            content = query.respond(asked, self.shelf, p, home=self.home)
        else:
            retrieval = Retrieval(self.shelf, p, home=self.home, cross=endpoint == "gateway", packaging=packaging)
            content = retrieval.respond(exchange.documents or wanted(asked))
        message = envelope(p, content, action=action, relates_to=asked.message_id)
        runs = Writer(p, soap).write(message)
        if packaging == "plain":
            return self._packed(p, plain(p, runs, soap=soap, action=action))
        attachments = retrieval.attachments if retrieval else []
        return self._packed(p, multipart(p, runs, attachments, soap=soap, action=action))

    def _refusal(self, refused: Refused, asked: Asked | None, p: Personality, action: str) -> Reply:
        if isinstance(refused.answer, Canned):
            return canned(refused.answer)
        fault: SoapFault = refused.answer
        soap = version(p, refused.soap)
        action = f"{names.WSA}/soap/fault"
        message = envelope(
            p,
            fault_body(p, fault, soap),
            action=action,
            relates_to=asked.message_id if asked else None,
            header=fault_header(fault, soap),
        )
        runs = Writer(p, soap).write(message)
        pack = (
            multipart(p, runs, [], soap=soap, action=action)
            if fault.multipart
            else plain(p, runs, soap=soap, action=action)
        )
        return Reply(status(fault, soap), pack.media_type, pack.runs)

    def _packed(self, p: Personality, body: Body) -> Reply:
        return Reply(p.status, body.media_type, body.runs)

    def _packaging(self, p: Personality, asked: Asked) -> str:
        if p.packaging == "follow":
            return "mtom" if asked.encoding == "mtom" else "plain"
        return p.packaging


def version(personality: Personality, asked: str) -> str:
    """The SOAP version of the answer, as its namespace."""
    match personality.soap:
        case "1.1":
            return names.SOAP11
        case "1.2":
            return names.SOAP12
        case "other":
            return names.SOAP11 if asked == names.SOAP12 else names.SOAP12
        case _:
            return asked


def canned(answer: Canned) -> Reply:
    """An answer that is no SOAP."""
    return Reply(answer.status, answer.media_type, [fixed(answer.body)], answer.fields)
