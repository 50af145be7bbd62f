"""The login: no access before it, full access after it, none after logout."""

from pathlib import Path

from playwright.sync_api import expect

from browser.stage import Stage
from browser.visit import VisitFactory
from support.certificates import CertificateAuthority

PASSWORD = "correct horse battery staple"


def test_the_page_opens_with_the_password_alone(visit: VisitFactory, stage: Stage, tmp_path: Path) -> None:
    CertificateAuthority(tmp_path).server_context("127.0.0.1")
    pem = tmp_path / "127.0.0.1.pem"
    with stage.serve_dashboard(password=PASSWORD, tls_cert=pem, tls_key=pem) as dashboard:
        assert dashboard.url.startswith("https://")
        reader = visit(dashboard.url, ignore_https_errors=True)
        page = reader.page
        page.goto(f"{dashboard.url}?symbol=S002.XXXX")
        assert "/login" in page.url
        field = page.get_by_label("Password")
        field.fill("wrong horse battery staple")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("Incorrect password.")
        reader.ignore_problems("status of 403")
        reader.save_screenshot("login")
        field.fill(PASSWORD)
        field.press("Enter")
        reader.wait_for("() => __tickerlake.chart().instrument === 'S002.XXXX'")
        expect(reader.status()).to_have_text("Live")
        assert reader.evaluate("() => document.cookie") == "", "scripts cannot read the session cookie"
        page.get_by_label("Settings").click()
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{dashboard.url}login")
        response = page.goto(dashboard.url)
        assert response is not None
        assert "/login" in response.url
        assert page.request.get(f"{dashboard.url}api/v1/instruments").status == 401
        reader.close()
