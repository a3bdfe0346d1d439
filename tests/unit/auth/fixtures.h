// SPDX-License-Identifier: Apache-2.0
// Public keys and tokens made by other programs: what weir must agree with.
#ifndef WEIR_TESTS_AUTH_FIXTURES_H
#define WEIR_TESTS_AUTH_FIXTURES_H

// A key of PyJWT with the kid k1, and a token of it: {"iss":"viewport-server","exp":2000000000}.
#define FOREIGN_N                                                                                  \
    "ihblfsX5x0MLZzj8uFNQ0mACSvf6JGNkg25aDdPjmD16HH_QHK-"                                          \
    "QuMRje2cQbxTq1vr2CVcIPlzvIe_MdQ18ki-VN3toAj8eZwQmXy2SAgL4BzTs25bk24bsyqsZUXii5-"              \
    "SBOrm93ZQXaea9mpwKYMpbdqAHsXOvvBl8tv4cTh5RPzJOEremGOP855Z2OGN8m_93jnrXRFJbM6haJHdI0k"         \
    "uPibwNr2mUHp0HVvQDhZq-AagwN6xMUdRLkx2larl02S9f3uIF8fTUrqEsaay_pGrRLp1ewRYyguAp5L6kOm"         \
    "MXNCkiVr9ei8YIkfWuxkosMhp0ZyyEYWHdg8aGsLhFhw"
#define FOREIGN_TOKEN                                                                              \
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJ2aWV3cG9ydC1zZXJ2ZXIi"         \
    "LCJleHAiOjIwMDAwMDAwMDB9.fn-ylAFSjelrbGTmg49_dd5pV0jwgnMpV9k2f2dK3pVa0vIrpCqu6FMh61N"         \
    "NpTdIumDhfN8HCb2U8ju-H3WDiNdZZVMPbC0mGsYH4fipD_zKcP6-"                                        \
    "0UhetZhif0vl4lMTBmMXVJqSEoOoQjeXevea2WTuObMTG-"                                               \
    "8ZwFi8H1XUoY4aFnpzBX_ebW8FawO77It4YRM4BEYESZ28u6LdgiLDvySw1JeyqkUhJZcdConKVN8UmB5svl"         \
    "jMrxBZ8cJGb3w6fIHaZ9KYUUALXJTFU_RsI1Wr596z3vM2q3oK8VAJKYXuYDwjpHSTY6TNv5A89uwaBF_qlT"         \
    "D4Jc5nW_C-HG7JVA"
#define FOREIGN_EXPIRY 2000000000

// RFC 7515 appendix A.3: ES256.
#define RFC_ES256_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define RFC_ES256_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define RFC_ES256_TOKEN                                                                            \
    "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS                                                             \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
// RFC 7515 appendix A.1: HS256.
#define RFC_HS256_KEY                                                                              \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define RFC_HS256_TOKEN                                                                            \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_CLAIMS                                         \
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define RFC_CLAIMS                                                                                 \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"         \
    "Ijp0cnVlfQ"
#define RFC_CLAIMS_EXPIRY 1300819380

// RFC 7638 section 3.1.
#define RFC_RSA_PEM                                                                                \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0vx7agoebGcQSuuPiLJX\n"                           \
    "ZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS\n"                           \
    "oc/BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ/2W+5JsGY4Hc5n9yBXArwl93lqt\n"                           \
    "7/RN5w6Cf0h4QyQ5v+65YGjQR0/FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0\n"                           \
    "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt+bFTWhAI4vMQFh6WeZu0f\n"                           \
    "M4lFd2NcRwr3XPksINHaQ+G/xBniIqbw0Ls1jF44+csFCur+kEgU8awapJzKnqDK\n"                           \
    "gwIDAQAB\n"                                                                                   \
    "-----END PUBLIC KEY-----\n"
#define RFC_RSA_THUMBPRINT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

// A modulus of 1024 bits.
#define SHORT_N                                                                                    \
    "2sTrDPXEFms1YCwAMr7VMyKgjM43g22_DDcsL5CQ5FhReDDQT_XKGIhuJ-nniC2S6MXgK1dxG8NQ4JtAUNPb"         \
    "2fUr0D7QBRxfmXTZyffDmgbQT9FnKvZSYSwcCpLCziAY58xyR_q5682CHw63Z1W9RiWB1eUQmJ9X41Nm9vis"         \
    "Wfk"

#endif
