# What a publisher has made before a page about carrying it begins: keys, trust.yaml, the signed mitigations.xml and root.crl. It is
# the guide docs/guides/publish-your-own.md in short, which has a test of its own.
set -euo pipefail
{
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -days 30 \
    -subj "/O=Contoso/CN=Contoso Mitigation Root" -addext "keyUsage=critical,keyCertSign,cRLSign"
  openssl req -x509 -CA root.pem -CAkey root.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout signing.key -out signing.pem -days 30 \
    -subj "/O=Contoso/CN=Contoso Mitigation Signing" -addext "basicConstraints=critical,CA:FALSE" \
    -addext "keyUsage=critical,digitalSignature" -addext "extendedKeyUsage=codeSigning"
  touch index.txt
  echo 01 > crlnumber
  printf '[ca]\ndefault_ca = root\n[root]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\n' > ca.conf
  openssl ca -config ca.conf -gencrl -keyfile root.key -cert root.pem -crldays 30 -out root.crl
} 2>/dev/null
cat signing.pem root.pem > chain.pem
{
  printf 'apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  contoso:\n    subject: {organization: Contoso}\n    roots: |\n'
  sed 's/^/      /' root.pem
} > trust.yaml
kubectl mitigation feed sign --in "$EMS_SOURCE/config/samples/publish/mitigations" --out mitigations.xml --key signing.key --certs chain.pem \
  --publisher Contoso --sequence 1 --trust trust.yaml
