"""The words that stand beside a value, by field and language.

Phrases are compared without spaces, dots, dashes, accents and case: "Rechnungs-Nr." is `rechnungsnr`. Fields whose
name ends in `_weak` count only where nothing better is found. Fields of `OTHER` keep a word such as "Datum" in
"Druckdatum" from being taken for the issue date.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from switchgear.invoice.amounts import fold

#: field -> language -> phrases, as people write them.
LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    "number": {
        "de": "Rechnungsnummer|Rechnungs-Nr|Rechnung-Nr|Rechnung Nummer|Rechnungsnr|Rechnung #|Rg-Nr|Re-Nr|Belegnummer"
        "|Beleg-Nr|Gutschriftsnummer|Gutschrift-Nr|Handelsrechnung Nr|Rechnungskorrektur Nr|Beitragsrechnung Nr"
        "|Korrekturrechnung Nr|Stornorechnung Nr|Schlussrechnung Nr|Abschlagsrechnung Nr|Faktura-Nr|Fakturanummer"
        "|Rechnungsnummer / Invoice No",
        "en": "Invoice Number|Invoice No|Invoice Nr|Invoice Num|Invoice #|Invoice ID|Inv No|Inv #|Inv Number"
        "|Credit Note No|Credit Note Number|Credit Note #|Credit Memo No|Tax Invoice No|Tax Invoice Number|Bill Number"
        "|Bill No|Document Number|Document No|Reference Invoice",
        "fr": "Numéro de facture|N° de facture|N° facture|Facture N°|Facture Numéro|Facture no|No de facture"
        "|Num. facture|Facture #|Référence facture|Avoir N°|Numéro d'avoir",
        "it": "Numero fattura|N. fattura|Fattura n|Fattura nr|Fattura numero|Fattura n°|Nr. fattura|Numero documento"
        "|Nota di credito n",
        "es": "Número de factura|N° de factura|Nº de factura|Nº factura|Factura Nº|Factura N°|Factura número|Factura no"
        "|Núm. factura|Factura núm",
        "nl": "Factuurnummer|Factuurnr|Factuur nr|Factuur nummer|Factuur no|Creditnota nummer|Creditnotanummer",
    },
    "number_weak": {
        "de": "Rechnung|Faktura|Gutschrift|Rechnungskorrektur|Stornorechnung|Schlussrechnung",
        "en": "Invoice|Tax Invoice|Credit Note|Credit Memo",
        "fr": "Facture|Avoir",
        "it": "Fattura|Nota di credito",
        "es": "Factura|Abono",
        "nl": "Factuur|Creditnota",
    },
    "issue_date": {
        "de": "Rechnungsdatum|Belegdatum|Beleg-Datum|Datum der Rechnung|Ausstellungsdatum|Rechnungs-Datum|Rechn.-Datum",
        "en": "Invoice Date|Date of Issue|Issue Date|Date of Invoice|Issued|Issued on|Billing Date|Bill Date"
        "|Tax Point Date|Document Date|Invoice Issue Date|Inv Date",
        "fr": "Date de facture|Date de la facture|Date facture|Date de facturation|Date d'émission|Facture du|Émise le",
        "it": "Data fattura|Data della fattura|Data documento|Data emissione|Data di emissione|Fattura del",
        "es": "Fecha de factura|Fecha factura|Fecha de emisión|Fecha de la factura|Fecha emisión|Fecha de expedición",
        "nl": "Factuurdatum|Factuur datum|Datum factuur",
    },
    "issue_date_weak": {
        "de": "Datum|vom|von",
        "en": "Date|Dated",
        "fr": "Date|Le|du",
        "it": "Data|Li|del",
        "es": "Fecha|de fecha",
        "nl": "Datum|van",
    },
    "due_date": {
        "de": "Fällig am|Fälligkeit|Fälligkeitsdatum|Fälligkeitstag|Zahlbar bis|Zahlungsziel|Zahlung bis|zu zahlen bis"
        "|überweisen Sie bis zum|überweisen bis|bis spätestens|Fällig|netto bis|Zahlbar ohne Abschlag bis"
        "|Zahlungsfrist|Zahlungsfälligkeit|zahlbar bis zum|ohne Abzug bis|Fällig bis",
        "en": "Due Date|Payment Due|Payment Due Date|Due|Due by|Due on|Pay by|Payable by|Payment Due by|Date Due"
        "|Please pay by|Remit until|Pay until|Payable until|Total Amount Due on|Invoice Due Date",
        "fr": "Échéance|Date d'échéance|Date échéance|À payer avant le|Payable avant le|Date limite de paiement"
        "|Paiement dû le|À régler avant le|Date de règlement",
        "it": "Scadenza|Data scadenza|Data di scadenza|Scadenza pagamento|Da pagare entro|Entro il",
        "es": "Vencimiento|Fecha de vencimiento|Fecha vencimiento|Fecha límite de pago|Vence el",
        "nl": "Vervaldatum|Verval datum|Betalen voor|Te betalen voor|Uiterste betaaldatum|Betaaldatum|Vervaldag",
    },
    "currency": {
        "de": "Währung|Rechnungswährung|Beträge in|Alle Beträge in|Währungscode",
        "en": "Currency|Invoice Currency|Currency Code|Document Currency|All amounts in|Amounts in",
        "fr": "Devise|Monnaie|Montants en",
        "it": "Valuta|Divisa|Importi in",
        "es": "Moneda|Divisa|Importes en",
        "nl": "Valuta|Munt|Bedragen in",
    },
    "gross": {
        "de": "Bruttosumme|Gesamtbetrag|Rechnungsbetrag|Bruttobetrag|Summe brutto|Gesamtsumme|Endbetrag|Gesamt brutto"
        "|Rechnungssumme Brutto|Brutto|Summe inkl USt|Summe inkl MwSt|Gesamtbetrag inkl MwSt|Gesamtbetrag brutto"
        "|Rechnungsendbetrag|Gesamt inkl MwSt|Gesamt inkl USt|Rechnungssumme|Endsumme|Total inkl MwSt|Total Brutto"
        "|Rechnungstotal|Gesamt-Brutto|Gesamtpreis brutto|Betrag inkl MwSt|Betrag brutto|Rechnungsgesamtbetrag"
        "|Rechnungssumme inkl USt|Gesamt EUR|Total inkl USt|Summe inkl|Gesamtbetrag inkl USt|Bruttorechnungsbetrag",
        "en": "Grand Total|Total Amount|Invoice Total|Total inc VAT|Total incl VAT|Total including VAT|Gross Total"
        "|Total Gross|Gross|Gross Amount|Total for this Invoice|Invoice Amount|Total inc Tax|Total incl Tax"
        "|Total with VAT|Amount incl VAT|Total inc GST|Total incl GST|Total Invoice Amount|Total Invoice",
        "fr": "Total TTC|Montant TTC|Total toutes taxes comprises|Montant total TTC|TTC|Total TVAC|Total général"
        "|Montant total|Total de la facture|Total TVA comprise|Total TVA incluse|Total facture",
        "it": "Totale fattura|Totale documento|Totale IVA inclusa|Importo totale|Totale ivato|Totale complessivo"
        "|Totale lordo|Totale generale",
        "es": "Total factura|Importe total|Total IVA incluido|Total con IVA|Total general|Total a pagar|Suma total",
        "nl": "Totaal incl BTW|Totaalbedrag|Totaal inclusief BTW|Factuurbedrag|Factuur totaal|Totaal te betalen"
        "|Totaalbedrag incl BTW|Bedrag incl BTW|Inclusief BTW|Eindtotaal|Totaalbedrag inclusief BTW|Totaal factuur",
    },
    "gross_weak": {
        "de": "Summe|Gesamt|Betrag gesamt|Total",
        "en": "Total|Amount",
        "fr": "Total|Montant",
        "it": "Totale|Importo",
        "es": "Total|Importe",
        "nl": "Totaal|Bedrag",
    },
    "net": {
        "de": "Summe netto|Nettobetrag|Nettosumme|Netto|Rechnungssumme Netto|Rechnungssumme ohne USt|Gesamt netto"
        "|Gesamtbetrag netto|Total netto|Warenwert netto|Nettowert|Nettogesamtbetrag|Summe exkl MwSt|Total exkl MwSt"
        "|Summe ohne MwSt|Betrag netto|Netto-Summe|Summe (netto)|Total ohne MwSt|Nettopreis gesamt|Nettorechnungsbetrag"
        "|Netto Gesamt|Summe exkl USt",
        "en": "Net Total|Total Net|Net Amount|Net|Total Before Tax|Total excl VAT|Total ex VAT|Total exc VAT"
        "|Total excluding VAT|Taxable Amount|Amount excl VAT|Total without VAT|Amount before Tax|Net Value"
        "|Total excl Tax|Net Invoice Amount|Total ex GST",
        "fr": "Total HT|Montant HT|Total hors taxes|Base HT|Total HTVA|Montant hors taxes|Total H.T|Montant net HT"
        "|Total net HT|Base imposable|Total hors TVA|Net HT",
        "it": "Imponibile|Totale imponibile|Totale netto|Netto|Totale merce|Base imponibile|Totale IVA esclusa",
        "es": "Base imponible|Total neto|Importe neto|Base|Total sin IVA|Neto|Suma base imponible",
        "nl": "Totaal excl BTW|Exclusief BTW|Totaal exclusief BTW|Netto|Bedrag excl BTW|Grondslag|Totaalbedrag excl BTW"
        "|Totaal netto|Nettobedrag|Excl BTW|Maatstaf van heffing",
    },
    "net_weak": {
        "de": "Zwischensumme|Warenwert|Positionssumme",
        "en": "Subtotal|Sub Total|Sub-Total|Charges",
        "fr": "Sous-total|Sous total",
        "it": "Subtotale|Sub totale",
        "es": "Subtotal",
        "nl": "Subtotaal",
    },
    "tax": {
        "de": "Umsatzsteuer|Mehrwertsteuer|MwSt|USt|Summe Umsatzsteuer|Steuerbetrag|MwSt-Betrag|USt-Betrag|Summe MwSt"
        "|Gesamtsteuer|USt Gesamt|zzgl USt|zzgl MwSt|zuzügl USt|zuzüglich Umsatzsteuer|zuzüglich MwSt|Steuern|Steuer"
        "|Summe USt|enthaltene MwSt|enthaltene Umsatzsteuer|Steuerbetrag in|Mehrwertsteuerbetrag|Gesamt MwSt"
        "|zzgl Umsatzsteuer|zzgl Mehrwertsteuer|inkl MwSt|darin enthaltene MwSt|Versicherungsteuer",
        "en": "VAT|Tax|Total Tax|Total VAT|VAT Amount|Tax Amount|Sales Tax|GST|HST|VAT Total|Tax Total|Total GST",
        "fr": "TVA|Total TVA|Montant TVA|Taxe|Taxes|Total taxes|Montant de la TVA|dont TVA",
        "it": "IVA|Totale IVA|Imposta|Totale imposta|Importo IVA",
        "es": "IVA|Total IVA|Cuota IVA|Importe IVA|Cuota|IGIC|Impuesto|Impuestos",
        "nl": "BTW|BTW-bedrag|Totaal BTW|BTW bedrag|BTW totaal",
    },
    "prepaid": {
        "de": "Bereits bezahlt|Anzahlung|Erhaltene Anzahlungen|Bereits gezahlt|geleistete Anzahlung|Gezahlter Betrag",
        "en": "Prepaid|Amount Paid|Already Paid|Paid|Deposit|Less Paid|Paid Amount|Prepaid Amount|Payments Received",
        "fr": "Acompte|Acomptes|Déjà payé|Déjà réglé|Acompte versé",
        "it": "Acconto|Già pagato|Importo pagato",
        "es": "Anticipo|Pagado|Importe pagado|A cuenta",
        "nl": "Reeds betaald|Aanbetaling|Betaald|Vooruitbetaald",
    },
    "payable": {
        "de": "Zahlbetrag|Offener Betrag|Zu zahlender Betrag|Zahlungsbetrag|Fälliger Betrag|Restbetrag|zu zahlen"
        "|Noch zu zahlen|Zu zahlender Beitrag",
        "en": "Amount Due|Balance Due|Total Due|Amount Payable|Total Payable|Balance|Payable|Total Amount Due"
        "|Outstanding Amount",
        "fr": "Net à payer|Montant à payer|Total à payer|Reste à payer|Solde à payer|Solde",
        "it": "Netto a pagare|Totale da pagare|Importo da pagare|Totale a pagare|Saldo",
        "es": "Importe a pagar|Líquido a pagar|Pendiente de pago|Total a ingresar",
        "nl": "Te betalen|Te betalen bedrag|Nog te betalen|Openstaand bedrag|Te voldoen",
    },
    "seller": {
        "de": "Verkäufer|Rechnungsersteller|Lieferant|Rechnungssteller|Aussteller|Leistungserbringer|Absender"
        "|Lieferfirma|Name des Lieferanten|Kreditor",
        "en": "Seller|Supplier|Vendor|From|Issued by|Bill from|Supplier Name|Service Provider|Sold by|Vendor Name"
        "|Seller Name|Invoice from|Issuer|Remit to",
        "fr": "Vendeur|Fournisseur|Émetteur|Prestataire|Émis par|Vendu par|Nom du fournisseur",
        "it": "Venditore|Fornitore|Cedente|Cedente/Prestatore|Emittente|Mittente",
        "es": "Vendedor|Proveedor|Emisor|Expedidor",
        "nl": "Verkoper|Leverancier|Afzender",
    },
    "buyer": {
        "de": "Käufer|Käufer/Leistungsempfänger|Rechnungsempfänger|Leistungsempfänger|Kunde|Rechnungsadresse"
        "|Rechnungsanschrift|Abweichender Rechnungsempfänger|Warenempfänger|Abweichender Warenempfänger|Lieferadresse"
        "|Lieferanschrift|Abweichender Zahlungsempfänger|Steuerbevollmächtigter des Verkäufers|Empfänger|Auftraggeber"
        "|Rechnung an|An|Fakturiert an|Berechnet an",
        "en": "Buyer|Bill to|Billed to|Customer|Sold to|Invoice to|Bill to Address|Ship to|Deliver to|Client|Recipient"
        "|Billing Address|Shipping Address|Delivery Address|Shipping Information|Buyer Name|Customer Name|To"
        "|Bill to Name|Invoiced to|Charge to",
        "fr": "Acheteur|Client|Facturé à|Adresse de facturation|Adresse de livraison|Destinataire|Livré à|Facturer à"
        "|Adressé à",
        "it": "Acquirente|Cliente|Destinatario|Cessionario|Spett.le|Spettabile|Cessionario/Committente|Intestatario",
        "es": "Comprador|Cliente|Destinatario|Facturar a|Dirección de facturación|Datos del cliente|Facturado a",
        "nl": "Koper|Klant|Factuuradres|Afleveradres|Bezorgadres|Geadresseerde|Factuur aan|Debiteur"
        "|Aan|Gefactureerd aan",
    },
    "vat_id": {
        "de": "USt-IdNr|USt-Id-Nr|USt-ID|UStID|Umsatzsteuer-ID|Umsatzsteuer-Identifikationsnummer|UID|UID-Nr"
        "|USt-Identnr|MwSt-Nr|USt-Nr|Ust ID Nr|Umsatzsteuer-Identnummer|MWST-Nummer|USt Ident-Nr|Umsatzsteuer-Id-Nr",
        "en": "VAT ID|VAT Number|VAT No|VAT Reg No|VAT Registration Number|VAT Registration No|Tax ID|VAT|VAT Reg"
        "|Supplier VAT ID|VAT #|Tax Number",
        "fr": "N° TVA|Numéro de TVA|TVA intracommunautaire|N° TVA intracommunautaire|TVA intracom|Numéro TVA|No TVA",
        "it": "Partita IVA|P. IVA|P.IVA|PIVA|Partita I.V.A",
        "es": "NIF|CIF|N.I.F|C.I.F|NIF/CIF|CIF/NIF|NIF IVA",
        "nl": "BTW nummer|BTW-nr|BTW nr|BTW|BTW-id|BTW-identificatienummer|BTW identificatie",
    },
    "buyer_vat_id": {
        "de": "Ihre USt-IdNr|Ihre USt-ID|Ihre USt-IdentNr|Ihre UID|Kunden-UID|Ihre Umsatzsteuer-ID|USt-IdNr des Kunden"
        "|Ihre USt-Id-Nr",
        "en": "Your VAT ID|Your VAT Number|Your VAT No|Customer VAT|Customer VAT Number|Buyer VAT ID|Customer VAT No"
        "|Client VAT",
        "fr": "Votre N° TVA|TVA client|N° TVA client|Votre TVA",
        "it": "Partita IVA cliente|P.IVA cliente|Vs. P.IVA",
        "es": "NIF cliente|CIF cliente|NIF del cliente",
        "nl": "Uw BTW nummer|Uw BTW-nr|Uw BTW nr|BTW nummer klant|Uw BTW",
    },
    "iban": {
        "de": "IBAN|IBAN-Nr|Bankverbindung|IBAN Nummer",
        "en": "IBAN|Bank Account|Account Number IBAN|IBAN Number|IBAN No",
        "fr": "IBAN|Compte bancaire",
        "it": "IBAN|Codice IBAN|Coordinate bancarie",
        "es": "IBAN|Cuenta bancaria|Número de cuenta",
        "nl": "IBAN|Rekeningnummer|Bankrekening",
    },
}

#: Other numbers, dates and texts that stand on invoices and must not be mistaken for the fields above.
OTHER: Final[Mapping[str, str]] = {
    "de": "Kundennummer|Kunden-Nr|Kd-Nr|Kunden Nummer|Bestellnummer|Bestell-Nr|Bestellung|Bestellung Nr|Bestelldatum"
    "|Bestell-Datum|Lieferdatum|Leistungsdatum|Leistungs-Datum|Liefer- und Leistungsdatum|Lieferscheinnummer"
    "|Lieferschein-Nr|Lieferscheinnr|Lieferschein-Datum|Lieferung Nr|Auftragsnummer|Auftrags-Nr|Auftrag-Nr"
    "|Auftragsdatum|Auftrag-Datum-Lief|Nummer|Geschäftsprozess"
    "|Auftrag-Nr-Lief|Ihre Nummer|Artikelnummer|Steuernummer|Steuer-Nr|Handelsregisternummer|HRB Nr"
    "|Leistungszeitraum|Rechnungszeitraum|Liefer-/Leistungszeitraum|Druckdatum|Seite|Globale Nummer|GLN|GTIN|BIC|BLZ"
    "|Kontonr|Kontonummer|Konto-Nr|Mandatsreferenz|Gläubiger-ID|Käufer-IBAN|Ursprungsbeleg-Nr|Reklamationsnummer"
    "|Rechnung gemäß Bestellung|Rechnung gemäß Bestellung Nr|Rechnungsrabatt|Vertragsnummer|Referenz|Projekt"
    "|Gesamtbetrag der Zuschläge|Gesamtbetrag der Abschläge|Summe Zuschläge|Summe Abschläge|Skonto|Zahlungsdatum"
    "|Rechnungsbetrag abzüglich Skonto|Versanddatum|Lief-Nr|Kundenreferenz|Telefon|Fax|Tel|Stand|Kontoinhaber"
    "|Skonto innerhalb|Währung der Umsatzsteuerbuchung|Umrechnungskurs|Nettogewicht|Bruttogewicht"
    "|Bruttopreis|Nettopreis|Basisbetrag|Nummer/Datum|Lieferscheinnr/-datum|ursprüngliche Rechnung",
    "en": "Customer Number|Customer No|Customer ID|Order Number|Order No|Order Date|PO Number|PO No|Purchase Order"
    "|Delivery Date|Ship Date|Delivery Note|Account Number|Account No|Start of Service|End of Service|Service Date"
    "|Billing Period|Page|Tax ID Number|Sort Code|SWIFT|Statement Date|Print Date|Payment Terms|Terms of Payment"
    "|Your Reference|Your Order|Our Reference|Reference|Company Number|Company No|Registration No|Phone|Tel|Fax"
    "|Gross Weight|Net Weight|Net Price|Unit Price|Original Invoice|Invoice Summary|Total Discount|Discount"
    "|Invoice Type|Total Quantity|Total Weight",
    "fr": "Numéro de client|N° client|Code client|Bon de commande|N° de commande|Date de commande|Date de livraison"
    "|Numéro de commande|SIRET|SIREN|N° SIRET|Page|Prix unitaire|Remise|Total remise|RCS|Tél|Code APE|Date de vente",
    "it": "Codice cliente|Numero ordine|Data ordine|Data consegna|Codice fiscale|DDT|Pagina|Prezzo unitario|Sconto"
    "|Totale sconto|Data trasporto|REA",
    "es": "Número de cliente|Nº cliente|Número de pedido|Nº pedido|Fecha de pedido|Fecha de entrega|Página"
    "|Precio unitario|Descuento|Fecha de operación|Albarán",
    "nl": "Klantnummer|Klantnr|Ordernummer|Orderdatum|Order|Bestelnummer|Leverdatum|Bestelling|KvK|KvK-nummer|Pagina"
    "|Prijs per stuk|Korting|Uw referentie|Serienummer|Debiteurnummer|Debiteurennummer|Prijzen zijn inclusief BTW",
}

#: Titles that make a document a credit note, and those that make it an invoice.
CREDIT_NOTE_TITLES: Final = (
    "rechnungskorrektur", "gutschrift", "stornorechnung", "korrekturrechnung", "creditnote", "creditmemo",
    "avoir", "notadicredito", "notadecredito", "facturarectificativa", "creditnota", "creditfactuur",
)  # fmt: skip
INVOICE_TITLES: Final = (
    "rechnung", "handelsrechnung", "invoice", "taxinvoice", "facture", "fattura", "factura", "factuur", "faktura",
)  # fmt: skip

#: Column headings of a table of lines.
COLUMNS: Final[Mapping[str, str]] = {
    "description": "Beschreibung|Artikel|Artikelbezeichnung|Artikelbeschreibung|Bezeichnung|Produkt|Leistung|Text"
    "|Position|Material/Beschreibung|Artikel/Leistung|Description|Item|Items|Product|Service|Details|Désignation"
    "|Libellé|Descrizione|Descripción|Concepto|Omschrijving|Item Description|Product Description|Detalle|Articolo"
    "|Article|Artículo",
    "quantity": "Menge|Anzahl|Qty|Quantity|Quantité|Qté|Quantità|Q.tà|Cantidad|Cant|Aantal|Hoeveelheid|Mge|Stück"
    "|Hours|Std|Stunden|Quant|Units",
    "net_price": "Einzelpreis|Preis|Nettopreis|E-Preis|Stückpreis|EP|Unit Price|Price|Rate|Unit Cost|Prix unitaire"
    "|PU HT|Prix|P.U|Prezzo|Prezzo unitario|Precio|Precio unitario|Prijs|Prijs per stuk|Preis/Einheit|Net Price"
    "|Eenheidsprijs|Stuksprijs|VKE/Geb",
    "net_amount": "Betrag|Gesamtpreis|Gesamt|Summe|Gesamtbetrag|Entgelt|Nettowert|Positionsbetrag|G-Preis|GP|Amount"
    "|Total|Line Total|Net Amount|Montant|Montant HT|Total HT|Importo|Totale|Importe|Bedrag|Totaal|Prijs incl BTW"
    "|Net|Total Price|Preis gesamt|Extended Price|Prix total|Totaalprijs|Line Amount",
    "vat_rate": "USt|MwSt|USt %|MwSt %|MwSt-%|VAT|VAT %|Tax|Taxes|TVA|TVA %|IVA|IVA %|BTW|BTW %|Tax %|Steuer|VAT Rate"
    "|Tax Rate|USt-Satz|MwSt-Satz",
    "unit": "Einheit|Mengeneinheit|Unit|Unité|Unità|Unidad|Eenheid|ME|UoM",
    "position": "Pos|Pos.|Nr|#|No|Item No|Line|Lfd|Pos-Nr|Ligne|Riga|Línea|Regel|Position|Zeile",
    "item_number": "Art-Nr|Artikelnummer|Artikel-Nr|Art.Nr|Item Code|SKU|Part No|Référence|Réf|Codice|Código|Artikelnr"
    "|Product Code|Art-Nr-Kunde|Art-Nr-Lieferant|Materialnummer",
}


def norm(text: str) -> str:
    """Letters and digits only, lower case, without accents; `#` and `%` stay because they are words of their own."""
    return "".join(sign for sign in fold(text.replace("°", "o").replace("º", "o")) if sign.isalnum() or sign in "#%")


@lru_cache(maxsize=8)
def label_index(languages: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Normal form of each phrase in these languages -> the fields that it stands for, best first."""
    index: dict[str, list[str]] = {}
    for field, by_language in [*LABELS.items(), ("other", OTHER)]:
        for language in languages:
            for phrase in by_language.get(language, "").split("|"):
                fields = index.setdefault(norm(phrase), [])
                if field not in fields:
                    fields.append(field)
    index.pop("", None)
    return {phrase: tuple(fields) for phrase, fields in index.items()}


@lru_cache(maxsize=1)
def column_index() -> Mapping[str, str]:
    """Normal form of each column heading -> column, all languages."""
    return {
        norm(phrase): column for column, phrases in reversed(list(COLUMNS.items())) for phrase in phrases.split("|")
    }
