"""A gateway as it is commonly built: `python -m benchmarks.zeep_peer PORT URL REPOSITORY DOCUMENT FOLDER`.

Every GET asks the repository at URL for DOCUMENT through zeep, the SOAP client that Python programs use, and answers with
what it returns. zeep reads an answer whole, as a tree, and so does everybody who uses it. It gets what it needs for documents
of this size (`xml_huge_tree`) and keeps its connection; FOLDER takes the description of the service that it demands.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web
from zeep import Client, Settings  # type: ignore[import-untyped]

WSDL = """\
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:x="urn:ihe:iti:xds-b:2007" targetNamespace="urn:ihe:iti:xds-b:2007">
  <types>
    <xs:schema targetNamespace="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0" elementFormDefault="qualified">
      <xs:element name="RegistryResponse"><xs:complexType><xs:sequence>
        <xs:any minOccurs="0" maxOccurs="unbounded" processContents="skip"/></xs:sequence>
        <xs:attribute name="status" type="xs:anyURI"/></xs:complexType></xs:element>
    </xs:schema>
    <xs:schema targetNamespace="urn:ihe:iti:xds-b:2007" elementFormDefault="qualified"
        xmlns:rs="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0">
      <xs:import namespace="urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"/>
      <xs:element name="RetrieveDocumentSetRequest"><xs:complexType><xs:sequence>
        <xs:element name="DocumentRequest"><xs:complexType><xs:sequence>
          <xs:element name="RepositoryUniqueId" type="xs:string"/>
          <xs:element name="DocumentUniqueId" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="RetrieveDocumentSetResponse"><xs:complexType><xs:sequence>
        <xs:element ref="rs:RegistryResponse"/>
        <xs:element name="DocumentResponse" minOccurs="0"><xs:complexType><xs:sequence>
          <xs:element name="HomeCommunityId" type="xs:string" minOccurs="0"/>
          <xs:element name="RepositoryUniqueId" type="xs:string"/>
          <xs:element name="DocumentUniqueId" type="xs:string"/>
          <xs:element name="mimeType" type="xs:string"/>
          <xs:element name="Document" type="xs:base64Binary"/></xs:sequence></xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
    </xs:schema>
  </types>
  <message name="Asked"><part name="body" element="x:RetrieveDocumentSetRequest"/></message>
  <message name="Answered"><part name="body" element="x:RetrieveDocumentSetResponse"/></message>
  <portType name="Repository"><operation name="RetrieveDocumentSet">
    <input message="x:Asked"/><output message="x:Answered"/></operation></portType>
  <binding name="Binding" type="x:Repository">
    <soap12:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="RetrieveDocumentSet"><soap12:operation soapAction="urn:ihe:iti:2007:RetrieveDocumentSet"/>
      <input><soap12:body use="literal"/></input><output><soap12:body use="literal"/></output></operation>
  </binding>
  <service name="Service"><port name="Port" binding="x:Binding"><soap12:address location="URL"/></port></service>
</definitions>
"""


async def serve(port: int, url: str, repository: str, document: str, folder: Path) -> None:
    """Answer until the process is ended."""
    description = folder / "repository.wsdl"
    description.write_text(WSDL.replace("URL", url))
    client = Client(str(description), settings=Settings(strict=False, xml_huge_tree=True))
    asked = {"DocumentRequest": {"RepositoryUniqueId": repository, "DocumentUniqueId": document}}

    def retrieved() -> bytes:
        answer = client.service.RetrieveDocumentSet(**asked)
        return bytes(answer.DocumentResponse.Document)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=await asyncio.to_thread(retrieved), content_type="application/octet-stream")

    application = web.Application()
    application.router.add_get("/{id}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), *sys.argv[2:5], Path(sys.argv[5])))
