"""One repository, or the gateway of another community: what it is asked, and how its answer is to be read.

Rules of this module: it puts an endpoint's options to use and reads no answer.
"""

from __future__ import annotations

from adapters.contract import Services
from adapters.xds.assertion import AssertionFile
from adapters.xds.body import Room
from adapters.xds.identifiers import document_on_the_wire, home_on_the_wire, repository_on_the_wire
from adapters.xds.locator import DocumentKey
from adapters.xds.options import Endpoint as EndpointOptions
from adapters.xds.outcome import misconfigured
from adapters.xds.request import Packing
from adapters.xds.service import Call, SoapService
from adapters.xds.transactions import ACTIONS, DocumentRequest, retrieve


def packed(options: EndpointOptions) -> Packing:
    """How requests to this endpoint are packed."""
    return Packing(options.request_encoding, options.ws_addressing, options.must_understand)


class Endpoint:
    """A configured endpoint. `number` counts those of the options, `place` says the same as a key ("endpoints.0")."""

    def __init__(self, options: EndpointOptions, services: Services, *, number: int, room: Room) -> None:
        self.options = options
        self.place = f"endpoints.{number}"
        self.guard = services.endpoint(self.name)
        """The context of each call: an endpoint that is away must not stop calls to the others."""
        self.service = SoapService(
            options,
            services,
            packing=packed(options),
            assertions=None if options.saml is None else AssertionFile(options.saml.assertion_file, services),
            place=self.place,
            room=room,
        )
        self.proven = False
        """Whether a probe went well once. Until then it asks for every repository, and for what else would do."""
        self.advice: str | None = None
        """What to write instead, "" when nothing else would do either, None until it was tried."""
        self._log = services.log
        self._told: set[str] = set()
        self._wrong_documents = 0

    @property
    def name(self) -> str:
        """For texts and log lines."""
        return f"endpoint {self.options.alias}"

    def asked(self, key: DocumentKey) -> DocumentKey:
        """`key` with the community that this endpoint adds."""
        return DocumentKey(key.home or self.options.home_community_id, key.repository, key.document)

    def retrieve(self, asked: DocumentKey, *, otherwise: EndpointOptions | None = None) -> Call:
        """The call that asks for one document; raises as `SoapService.call` does. `otherwise` are options that decide in
        place of its own how the request is written, to find out whether those would do."""
        options = otherwise or self.options
        request = DocumentRequest(
            None if asked.home is None else home_on_the_wire(asked.home),
            repository_on_the_wire(asked.repository, options.repository_id_style),
            document_on_the_wire(asked.document, options.document_id_style),
        )
        packing = None if otherwise is None else packed(otherwise)
        return self.service.call(ACTIONS[options.transaction], retrieve(request), packing=packing)

    def note_quirks(self, quirks: frozenset[str]) -> None:
        """Log what was wrong in an answer and forgiven, each kind once."""
        for quirk in sorted(quirks - self._told):
            self._told.add(quirk)
            self._log.info(
                "the answers of this endpoint have an oddity, which is forgiven", endpoint=self.name, quirk=quirk
            )

    def note_wrong_document(self) -> None:
        """Log that another document than the one asked for was in an answer, perhaps another patient's."""
        self._wrong_documents += 1
        self._log.warning(
            "ALERT: another document than the one asked for came, and was refused: have the repository's index checked",
            endpoint=self.name,
            count=self._wrong_documents,
        )

    def note_misconfigured(self, code: str | None) -> None:
        """Log that the endpoint does not know itself by what the options say, if `code` means that; once for each."""
        cure = misconfigured(code) if code is not None and code not in self._told else None
        if code is not None and cure is not None:
            self._told.add(code)
            self._log.warning(cure, endpoint=self.name, code=code)
