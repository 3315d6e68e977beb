/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.c - names in certificates as RabbitMQ writes them, since permissions
 * are given to such names: RFC 4514 with its types' names and its escapes.
 */
#include "tls_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

void
tls_text_add(struct tls_text *text, const void *data, size_t bytes)
{
    if (text->failed) {
        return;
    }
    if (text->room - text->bytes < bytes) {
        const size_t room = LP_MAX(2 * text->room, text->bytes + bytes + 64);
        char *more = realloc(text->data, room);
        if (more == NULL) {
            text->failed = true;
            return;
        }
        text->data = more;
        text->room = room;
    }
    if (bytes > 0) {
        memcpy(text->data + text->bytes, data, bytes);
        text->bytes += bytes;
    }
}

void
tls_text_end(struct tls_text *text)
{
    tls_text_add(text, "", 1);
}

static void
text_words(struct tls_text *text, const char *words)
{
    tls_text_add(text, words, strlen(words));
}

/* --- Values. --------------------------------------------------------------------------------- */

/* A value of a text's type, as UTF-8 to be freed; negative: it is no text. */
static int
value_utf8(const ASN1_STRING *value, unsigned char **ret_utf8)
{
    switch (ASN1_STRING_type(value)) {
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_T61STRING: /* taken for ISO 8859-1 */
    case V_ASN1_BMPSTRING:
    case V_ASN1_UNIVERSALSTRING:
    case V_ASN1_UTF8STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_NUMERICSTRING:
    case V_ASN1_VISIBLESTRING:
        return ASN1_STRING_to_UTF8(ret_utf8, value);
    default:
        return -1;
    }
}

static void
value_escape(struct tls_text *text, const unsigned char *value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        char hex[4];
        const unsigned char byte = value[i];
        const bool first = i == 0 && (byte == ' ' || byte == '#');
        const bool last = i == bytes - 1 && byte == ' ';
        if (first || last || (byte != 0 && strchr("\"+,;<>\\", byte) != NULL)) {
            tls_text_add(text, "\\", 1);
            tls_text_add(text, &value[i], 1);
        } else if (byte < 32 || byte >= 126) {
            (void)snprintf(hex, sizeof(hex), "\\%02X", byte);
            text_words(text, hex);
        } else {
            tls_text_add(text, &value[i], 1);
        }
    }
}

/* What is no text: as Erlang shows bytes. */
static void
value_bytes(struct tls_text *text, const ASN1_STRING *value)
{
    const unsigned char *data = ASN1_STRING_get0_data(value);
    char number[8];
    text_words(text, "\\<\\<");
    for (int i = 0; i < ASN1_STRING_length(value); i++) {
        (void)snprintf(number, sizeof(number), "%s%u", i > 0 ? "\\," : "", data[i]);
        text_words(text, number);
    }
    text_words(text, "\\>\\>");
}

/* --- Distinguished names. -------------------------------------------------------------------- */

/* Not STREET: RabbitMQ has the word, but for an attribute that is none of X.520's. */
static void
entry_type(struct tls_text *text, const ASN1_OBJECT *object)
{
    static const struct {
        int nid;
        const char *name;
    } names[] = {
        {NID_surname, "SN"},
        {NID_givenName, "GIVENNAME"},
        {NID_initials, "INITIALS"},
        {NID_generationQualifier, "GENERATIONQUALIFIER"},
        {NID_commonName, "CN"},
        {NID_localityName, "L"},
        {NID_stateOrProvinceName, "ST"},
        {NID_organizationName, "O"},
        {NID_organizationalUnitName, "OU"},
        {NID_title, "TITLE"},
        {NID_countryName, "C"},
        {NID_serialNumber, "SERIALNUMBER"},
        {NID_pseudonym, "PSEUDONYM"},
        {NID_domainComponent, "DC"},
        {NID_pkcs9_emailAddress, "EMAILADDRESS"},
        {NID_userId, "UID"},
    };
    const int nid = OBJ_obj2nid(object);
    char dotted[128];
    for (size_t i = 0; i < LP_COUNT_OF(names); i++) {
        if (names[i].nid == nid) {
            text_words(text, names[i].name);
            return;
        }
    }
    if (OBJ_obj2txt(dotted, sizeof(dotted), object, 1) > 0) {
        text_words(text, dotted);
    }
}

static void
entry_add(struct tls_text *text, const X509_NAME_ENTRY *entry)
{
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    unsigned char *utf8 = NULL;
    entry_type(text, X509_NAME_ENTRY_get_object(entry));
    text_words(text, "=");
    const int bytes = value_utf8(value, &utf8);
    if (bytes >= 0) {
        value_escape(text, utf8, bytes);
        OPENSSL_free(utf8);
    } else {
        value_bytes(text, value);
    }
}

/* Sets come last to first, what a set holds first to last. */
void
tls_name_distinguished(struct tls_text *text, const X509_NAME *name)
{
    const int count = X509_NAME_entry_count(name);
    int end = count;
    while (end > 0) {
        const int set = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, end - 1));
        int begin = end - 1;
        while (begin > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(name, begin - 1)) == set) {
            begin--;
        }
        text_words(text, end < count ? "," : "");
        for (int i = begin; i < end; i++) {
            text_words(text, i > begin ? "+" : "");
            entry_add(text, X509_NAME_get_entry(name, i));
        }
        end = begin;
    }
}

bool
tls_name_common(struct tls_text *text, const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    bool found = false;
    for (int at = -1;;) {
        at = X509_NAME_get_index_by_NID(subject, NID_commonName, at);
        if (at < 0) {
            return found;
        }
        unsigned char *utf8 = NULL;
        const int bytes =
            value_utf8(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), &utf8);
        text_words(text, found ? "," : "");
        if (bytes >= 0) {
            tls_text_add(text, utf8, (size_t)bytes);
            OPENSSL_free(utf8);
        }
        found = true;
    }
}

/* --- Alternative names. ---------------------------------------------------------------------- */

/* What OTHER_NAME holds, if it is a text of X.520's. */
static bool
other_add(struct tls_text *text, const OTHERNAME *other)
{
    unsigned char *utf8 = NULL;
    const ASN1_TYPE *value = other->value;
    switch (value->type) {
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_T61STRING:
    case V_ASN1_BMPSTRING:
    case V_ASN1_UNIVERSALSTRING:
    case V_ASN1_UTF8STRING:
        break;
    default:
        return false;
    }
    const int bytes = ASN1_STRING_to_UTF8(&utf8, value->value.asn1_string);
    if (bytes < 0) {
        return false;
    }
    tls_text_add(text, utf8, (size_t)bytes);
    OPENSSL_free(utf8);
    return true;
}

static bool
general_add(struct tls_text *text, const GENERAL_NAME *name)
{
    int type;
    void *value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_OTHERNAME) {
        return other_add(text, value);
    }
    /* An address is its octets as they are. */
    const ASN1_STRING *string = value;
    tls_text_add(text, ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
    return true;
}

bool
tls_name_alternative(struct tls_text *text, const X509 *certificate, enum lp_tls_san type,
                     uint32_t index)
{
    static const int kinds[] = {GEN_DNS, GEN_IPADD, GEN_EMAIL, GEN_URI, GEN_OTHERNAME};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == kinds[type] && index-- == 0) {
            found = general_add(text, name);
            break;
        }
    }
    GENERAL_NAMES_free(names);
    return found;
}

/* --- Times. ---------------------------------------------------------------------------------- */

/* RabbitMQ has a form for UTCTime, and shows the other one as Erlang does. */
void
tls_name_time(struct tls_text *text, const ASN1_TIME *time)
{
    const char *data = (const char *)ASN1_STRING_get0_data(time);
    const int bytes = ASN1_STRING_length(time);
    char line[80];
    if (ASN1_STRING_type(time) == V_ASN1_UTCTIME && bytes == 13) {
        (void)snprintf(line, sizeof(line), "20%.2s-%.2s-%.2sT%.2s:%.2s:%.2sZ", data, data + 2,
                       data + 4, data + 6, data + 8, data + 10);
    } else {
        (void)snprintf(line, sizeof(line), "{generalTime,\"%.*s\"}", LP_MIN(bytes, 40), data);
    }
    text_words(text, line);
}
