import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.file.Paths;
import java.util.LinkedHashMap;
import java.util.Map;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/**
 * The part of veraPDF's command line that the tests use: `--format json --flavour 2b FILE...`, in
 * one virtual machine. Prints the same report, with one rule summary per rule that failed.
 */
public final class VeraPdf {
    public static void main(String[] arguments) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        PDFAFlavour flavour = PDFAFlavour.PDFA_2_B;
        StringBuilder jobs = new StringBuilder();
        boolean compliant = true;
        for (int at = 0; at < arguments.length; at++) {
            switch (arguments[at]) {
                case "--format" -> at++;
                case "--flavour" -> flavour = PDFAFlavour.fromString(arguments[++at]);
                default -> {
                    String job = judge(arguments[at], flavour);
                    compliant &= job.contains("\"compliant\":true");
                    jobs.append(jobs.length() == 0 ? "" : ",").append(job);
                }
            }
        }
        System.out.println("{\"report\":{\"jobs\":[" + jobs + "]}}");
        System.exit(compliant ? 0 : 1);
    }

    private static String judge(String file, PDFAFlavour flavour) {
        String name = "{\"itemDetails\":{\"name\":" + quoted(Paths.get(file).toString()) + "},";
        try (InputStream stream = new FileInputStream(file);
                PDFAParser parser = Foundries.defaultInstance().createParser(stream, flavour);
                PDFAValidator validator =
                        Foundries.defaultInstance().createValidator(flavour, false)) {
            ValidationResult result = validator.validate(parser);
            Map<String, String> rules = new LinkedHashMap<>();
            for (TestAssertion assertion : result.getTestAssertions()) {
                if (assertion.getStatus() != TestAssertion.Status.FAILED) continue;
                rules.putIfAbsent(
                        assertion.getRuleId().toString(),
                        "{\"ruleStatus\":\"FAILED\",\"clause\":"
                                + quoted(assertion.getRuleId().getClause())
                                + ",\"testNumber\":" + assertion.getRuleId().getTestNumber()
                                + ",\"description\":" + quoted(assertion.getMessage()) + "}");
            }
            return name + "\"validationResult\":[{\"compliant\":" + result.isCompliant()
                    + ",\"details\":{\"ruleSummaries\":[" + String.join(",", rules.values())
                    + "]}}]}";
        } catch (Exception | StackOverflowError error) {
            return name + "\"taskException\":{\"exceptionMessage\":" + quoted(error.toString())
                    + "}}";
        }
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char letter : (text == null ? "" : text).toCharArray()) {
            if (letter == '"' || letter == '\\') out.append('\\').append(letter);
            else if (letter < ' ') out.append(String.format("\\u%04x", (int) letter));
            else out.append(letter);
        }
        return out.append('"').toString();
    }

    private VeraPdf() {}
}
