"""Label patterns by field and language. A pattern matches the label only; what follows is read by the field's rule."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_NR: Final = r"(?:\s?-?\s?(?:nr|no|num(?:mer|ber|éro|ero)?|n[°º]|#|id)\.?)"

PATTERNS: Final[Mapping[str, Mapping[str, str]]] = {
    "number": {
        "de": rf"\w{{0,30}}(?:rechnung|gutschrift|korrektur|faktura|beleg)s?{_NR}"
        r"|\w{0,30}rechnung\b[^:\d]{0,40}?\bnr\.?|rechnung\s#",
        "en": rf"(?:tax )?(?:invoice|credit note|credit memo|bill|document){_NR}|invoice(?=\s+\S*\d)",
        "fr": rf"(?:facture|avoir){_NR}|(?:num[ée]ro|n[°º]|no)\s?(?:de )?(?:facture|l'avoir)|facture(?=\s+\S*\d)",
        "it": rf"(?:fattura|nota di credito)\s?(?:n\.?|{_NR})|numero (?:fattura|documento)|n\.? fattura",
        "es": rf"factura{_NR}|(?:n[°ºú]m?(?:ero)?\.?)\s?(?:de )?factura",
        "nl": rf"(?:factuur|creditnota){_NR}",
    },
    "issue_date": {
        "de": r"(?:rechnungs|beleg|ausstellungs)-?datum|\w{0,30}(?:rechnung|korrektur|gutschrift)\b"
        r"(?:(?!gemäß|bestell|liefer).){0,60}?\bvo[mn]\b|\bdatum",
        "en": r"invoice date|date of issue|issue date|invoice issued|issued (?:on|at)|billing date|\bdate",
        "fr": r"date (?:de )?(?:la )?(?:facture|facturation|d'émission)|facture du|\bdate",
        "it": r"data (?:della )?(?:fattura|documento|(?:di )?emissione)|\bdata",
        "es": r"fecha (?:de )?(?:la )?(?:factura|emisión|expedición)|\bfecha",
        "nl": r"factuur ?datum|\bdatum",
    },
    "due_date": {
        "de": r"fällig(?:keit)?(?:s(?:datum|tag))?(?: am)?|zahlbar bis|überweisen.{0,20}bis(?: zum)?|netto bis"
        r"|zahlung bis|ohne abschlag bis",
        "en": r"due date|payment due(?: date)?|due (?:by|on)|pay(?:able)? by|remit until|due",
        "fr": r"(?:date d')?échéance|payable avant le|à payer avant le",
        "it": r"(?:data (?:di )?)?scadenza",
        "es": r"(?:fecha (?:de )?)?vencimiento",
        "nl": r"verval ?datum|betalen voor|vervaldag",
    },
    "currency": {
        "de": r"(?:rechnungs)?währung|beträge in", "en": r"(?:invoice )?currency(?: code)?", "fr": r"devise|monnaie",
        "it": r"valuta|divisa", "es": r"moneda|divisa", "nl": r"valuta|munt",
    },
    "gross": {
        "de": r"(?:gesamt|rechnungs|brutto|end)(?:betrag|summe)|(?:rechnungs)?summe (?:brutto|inkl)|brutto"
        r"|gesamt brutto",
        "en": r"grand total|total (?:amount|inc\w*|gross|with|for this invoice|invoice)|gross(?: total| amount)?"
        r"|invoice total|\btotal(?! net| ex| tax| vat| before)|amount due|due payable|balance due",
        "fr": r"(?:total|montant(?: total)?) t\.?t\.?c|total (?:général|tvac)|net à payer|\btotal(?! h\.?t| tva)",
        "it": r"totale (?:fattura|documento|complessivo|da pagare)|importo totale|\btotale(?! imponibile| iva| netto)",
        "es": r"total (?:factura|a pagar|con iva)|importe total|\btotal(?! iva| neto)",
        "nl": r"totaal(?:bedrag)?(?: incl| te betalen)?(?! excl| btw)|te betalen|factuur ?(?:bedrag|totaal)",
    },
    "net": {
        "de": r"summe (?:netto|ohne)|rechnungssumme (?:netto|ohne)|netto(?:betrag|summe|wert)?|zwischensumme",
        "en": r"net(?: total| amount)?|total (?:net|before tax|ex\w*)|sub-?\s?total|taxable amount|amount excl\w*",
        "fr": r"(?:total|montant|base)(?: net)? h\.?t|sous-total|total hors taxes",
        "it": r"(?:totale )?imponibile|totale netto|subtotale|netto",
        "es": r"base imponible|subtotal|total neto|neto",
        "nl": r"(?:totaal |bedrag )?excl(?:usief|\.)? btw|subtotaal|netto|grondslag",
    },
    "tax": {
        "de": r"(?:summe |zzgl\.? |zuzüglich |zuzügl\.? )?(?:umsatzsteuer|mehrwertsteuer|mwst|ust)\b|steuerbetrag",
        "en": r"(?:total |sales )?(?:vat|tax|gst)\b(?! id| no| reg| number)",
        "fr": r"(?:total |montant )?t\.?v\.?a\b(?! intra)",
        "it": r"(?:totale )?i\.?v\.?a\b|imposta",
        "es": r"(?:total |cuota )?i\.?v\.?a\b",
        "nl": r"(?:totaal )?btw\b(?! n| id)|btw-?\s?bedrag",
    },
    "payable": {
        "de": r"zahl(?:ungs)?betrag|(?:offener|fälliger|zu zahlender) (?:gesamt)?betrag|restbetrag|noch zu zahlen",
        "en": r"(?:total )?amount (?:due|payable)|balance due|total due|outstanding amount",
        "fr": r"(?:net|montant|total|reste) à payer", "it": r"(?:netto|totale|importo) (?:a|da) pagare",
        "es": r"(?:importe|líquido|total) a pagar", "nl": r"(?:nog )?te betalen(?: bedrag)?|openstaand bedrag",
    },
    "prepaid": {
        "de": r"bereits (?:be|ge)zahlt|(?:geleistete |erhaltene )?anzahlung(?:en)?|gezahlter betrag",
        "en": r"prepaid(?: amount)?|(?:amount |already |less )?paid(?: amount)?|deposit|payments received",
        "fr": r"acomptes?(?: versé)?|déjà (?:payé|réglé)", "it": r"acconto|già pagato", "es": r"anticipo|pagado",
        "nl": r"(?:reeds |vooruit)?betaald|aanbetaling",
    },
    "vat_id": {
        "de": r"ust\.?-?\s?id(?:ent)?\w*\.?(?:\s?-?nr\.?)?|umsatzsteuer-?id\w*\.?|\buid\b",
        "en": r"vat (?:id|no|number|reg)\w*",
        "fr": r"(?:n[°º]\s?)?tva(?: intra\w*)?", "it": r"p(?:artita|\.)?\s?iva", "es": r"\bn\.?i\.?f|\bc\.?i\.?f",
        "nl": r"btw(?:-?\s?(?:nummer|nr|id))?",
    },
    "iban": dict.fromkeys(("de", "en", "fr", "it", "es", "nl"), r"\biban(?:-?\s?n[ro])?"),
    "seller": {
        "de": r"verkäufer|rechnungsersteller|rechnungssteller|lieferant",
        "en": r"seller|supplier(?: name)?|vendor|from",
        "fr": r"vendeur|fournisseur|émetteur", "it": r"venditore|fornitore|cedente", "es": r"vendedor|proveedor|emisor",
        "nl": r"verkoper|leverancier",
    },
    "buyer": {
        "de": r"käufer\S*|rechnungsempfänger|leistungsempfänger|kunde|(?:rechnung |fakturiert |berechnet )?an",
        "en": r"bill(?:ed)? to|buyer|customer|sold to|invoiced? to",
        "fr": r"client|acheteur|facturé à", "it": r"cliente|cessionario", "es": r"cliente|comprador|facturad?[ro] a",
        "nl": r"klant|koper|factuuradres|aan",
    },
}  # fmt: skip

#: Labels that contain a field's word and mean something else.
FOREIGN: Final = re.compile(
    r"\b(?:liefer|leistungs|bestell|order|druck|kunden|klant|auftrags?|ursprungs|delivery|purchase|customer|account"
    r"|ihre?|your|votre|uw|artikel|steuer|handelsregister|skonto|zuschläge|abschläge|discount|print|ship|käufer-)"
    r"[\s.-]*$|gemäß|lt\.",
    re.IGNORECASE,
)


@lru_cache(maxsize=64)
def pattern(field: str, languages: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for *field* in these languages; longer alternatives of a language come first."""
    alternatives = "|".join(dict.fromkeys(PATTERNS[field][language] for language in languages))
    return re.compile(rf"(?<![^\W\d])(?:{alternatives})(?![^\W\d])[\s.:]*", re.IGNORECASE)
