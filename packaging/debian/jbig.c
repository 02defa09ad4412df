/* Takes the place of libjbig in the package: it decodes nothing and encodes nothing.
 *
 * The wheel of tesserocr carries libtiff, which is linked against libjbig of jbigkit, a library under
 * the GNU GPL. archived hands Tesseract pixels and never a TIFF file, so nothing in it is ever called.
 * The functions are those that libtiff asks for; a test compares them. An attempt to decode is
 * answered with an error, which libtiff reports as such.
 */

#define NOT_SUPPORTED 0x40

void jbg_dec_init(void *state) { (void)state; }
int jbg_dec_in(void *state) { (void)state; return NOT_SUPPORTED; }
unsigned long jbg_dec_getsize(const void *state) { (void)state; return 0; }
unsigned char *jbg_dec_getimage(const void *state) { (void)state; return 0; }
void jbg_dec_free(void *state) { (void)state; }
int jbg_newlen(void) { return NOT_SUPPORTED; }
const char *jbg_strerror(int error) { (void)error; return "JBIG is not supported here"; }
void jbg_enc_init(void *state) { (void)state; }
void jbg_enc_out(void *state) { (void)state; }
void jbg_enc_free(void *state) { (void)state; }
