import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.SignerInformationVerifier;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;

/**
 * BouncyCastle's verdict on evidence records: `RECORD SECONDS DATA[,DATA...]` three at a time, where
 * SECONDS is the moment, since 1970. Prints "valid" or "invalid: why", a line for each.
 */
public final class EvidenceRecordJudge {
    public static void main(String[] arguments) throws Exception {
        BouncyCastleProvider provider = new BouncyCastleProvider();
        for (int at = 0; at + 2 < arguments.length; at += 3) {
            try {
                List<ERSData> data = new ArrayList<>();
                for (String file : arguments[at + 2].split(",")) {
                    data.add(new ERSByteData(Files.readAllBytes(Path.of(file))));
                }
                ERSEvidenceRecord record = new ERSEvidenceRecord(
                        Files.readAllBytes(Path.of(arguments[at])),
                        new JcaDigestCalculatorProviderBuilder().setProvider(provider).build());
                Date moment = new Date(Long.parseLong(arguments[at + 1]) * 1000);
                record.validatePresent(
                        data.size() == 1 ? data.get(0) : new ERSDataGroup(data), moment);
                X509CertificateHolder signer = record.getSigningCertificate();
                X509Certificate certificate = (X509Certificate)
                        CertificateFactory.getInstance("X.509").generateCertificate(
                                new ByteArrayInputStream(signer.getEncoded()));
                SignerInformationVerifier verifier = new JcaSimpleSignerInfoVerifierBuilder()
                        .setProvider(provider).build(certificate);
                record.validate(verifier);
                System.out.println("valid");
            } catch (Exception error) {
                System.out.println("invalid: " + error.getMessage());
            }
        }
    }

    private EvidenceRecordJudge() {}
}
